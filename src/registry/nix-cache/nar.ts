/**
 * Writes a store path as a NAR, Nix's archive of a file system object (Nix manual, "Nix Archive format"): nothing in it
 * depends on the host, so its hash names the content.
 */
import { storeEntries } from '../../oci/tar/store-entries.ts';
import type { TarEntry } from '../../oci/tar/tar-stream.ts';

/** Small pieces are gathered up to this size, so that a consumer is called seldom. */
const pieceSize = 256 * 1024;

/**
 * @param physicalStore the folder on this host that holds the store paths
 * @param path the store path
 * @returns the NAR's bytes
 * @throws BerthError LAYER_UNREADABLE when the path is not there, CANCELLED
 */
export async function* narOf(physicalStore: string, path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const out = gatherer();
  out.add(text('nix-archive-1'));
  // Folders that are open, by the length of their path: a member that lies elsewhere closes them.
  const open: Buffer[] = [];
  const closeUntil = (member: Buffer) => {
    for (let last = open.at(-1); last !== undefined && !isBelow(member, last); last = open.at(-1)) {
      open.pop();
      out.add(text(')'), ...(open.length > 0 ? [text(')')] : []));
    }
  };
  for await (const entry of membersOf(physicalStore, path, signal)) {
    closeUntil(entry.path);
    const inFolder = open.length > 0;
    if (inFolder) out.add(text('entry'), text('('), text('name'), bytes(nameOf(entry.path)), text('node'));
    if (entry.type === 'directory') {
      out.add(text('('), text('type'), text('directory'));
      open.push(entry.path);
    } else if (entry.type === 'symlink') {
      out.add(text('('), text('type'), text('symlink'), text('target'), bytes(entry.target), text(')'));
    } else {
      yield* fileOf(entry, out);
      out.add(text(')'));
    }
    if (inFolder && entry.type !== 'directory') out.add(text(')'));
    if (out.size >= pieceSize) yield out.take();
  }
  closeUntil(Buffer.alloc(0));
  yield out.take();
}

async function* fileOf(entry: TarEntry & { type: 'file' }, out: Gatherer): AsyncGenerator<Uint8Array> {
  out.add(text('('), text('type'), text('regular'));
  if ((entry.mode & 0o100) !== 0) out.add(text('executable'), text(''));
  out.add(text('contents'), length(entry.size));
  if (typeof entry.content === 'function') {
    yield out.take();
    yield* entry.content();
  } else {
    out.add(entry.content);
  }
  out.add(padding(entry.size));
}

/** The path's own members: without the folders above it that an archive of the store begins with. */
async function* membersOf(physicalStore: string, path: string, signal?: AbortSignal): AsyncGenerator<TarEntry> {
  for await (const entry of storeEntries(physicalStore, [path], signal)) {
    if (entry.path.length > 'nix/store'.length) yield entry;
  }
}

interface Gatherer {
  readonly size: number;
  add(...pieces: Uint8Array[]): void;
  take(): Uint8Array;
}

function gatherer(): Gatherer {
  let pieces: Uint8Array[] = [];
  let size = 0;
  return {
    get size() {
      return size;
    },
    add(...more) {
      for (const piece of more) size += piece.length;
      pieces.push(...more);
    },
    take() {
      const all = Buffer.concat(pieces, size);
      pieces = [];
      size = 0;
      return all;
    },
  };
}

function isBelow(path: Buffer, folder: Buffer): boolean {
  return path.length > folder.length && path[folder.length] === 0x2f && path.subarray(0, folder.length).equals(folder);
}

function nameOf(path: Buffer): Buffer {
  return path.subarray(path.lastIndexOf(0x2f) + 1);
}

const texts = new Map<string, Uint8Array>();

/** A word of the format, framed; there are few. */
function text(word: string): Uint8Array {
  let framed = texts.get(word);
  if (!framed) texts.set(word, (framed = bytes(Buffer.from(word))));
  return framed;
}

/** A string: its length in 8 bytes, its bytes, and zeros up to a multiple of 8. */
function bytes(content: Uint8Array): Uint8Array {
  return Buffer.concat([length(content.length), content, padding(content.length)]);
}

function length(size: number): Uint8Array {
  const framed = Buffer.alloc(8);
  framed.writeBigUInt64LE(BigInt(size));
  return framed;
}

function padding(size: number): Uint8Array {
  return Buffer.alloc((8 - (size % 8)) % 8);
}
