/**
 * Writes tar archives (POSIX.1-2001 `ustar` with `pax` headers where a name or size does not fit) as a stream. The bytes
 * are part of Berth's contract, since layer digests are taken of them: see docs/decisions/0021.
 */
import { BerthError } from '../../core/errors.ts';

/** One member of an archive. Paths are bytes, as Linux has them, with no slash at either end. */
export type TarEntry =
  | { readonly type: 'directory'; readonly path: Buffer; readonly mode: number }
  | { readonly type: 'symlink'; readonly path: Buffer; readonly target: Buffer }
  | {
      readonly type: 'file';
      readonly path: Buffer;
      readonly mode: number;
      /** In bytes; the content must have exactly that many. */
      readonly size: number;
      readonly content: Uint8Array | (() => AsyncIterable<Uint8Array>);
    };

/** The time of everything, in seconds since the epoch: what Nix gives to everything in a store. */
export const canonicalTime = 1;

const blockSize = 512;
const nameField = 100;
/** The largest number that a size field of eleven octal digits holds. */
const maxOctalSize = 8 ** 11 - 1;
const padding = Buffer.alloc(blockSize);

/**
 * @returns the archive in pieces of any size
 * @throws BerthError LAYER_UNREADABLE when a file's content has another length than its size
 */
export async function* tarStream(entries: Iterable<TarEntry> | AsyncIterable<TarEntry>): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    yield headersOf(entry);
    if (entry.type !== 'file' || entry.size === 0) continue;
    if (entry.content instanceof Uint8Array) {
      checkLength(entry, entry.content.length);
      yield entry.content;
    } else {
      let length = 0;
      for await (const piece of entry.content()) {
        length += piece.length;
        if (length > entry.size) break;
        yield piece;
      }
      checkLength(entry, length);
    }
    const rest = entry.size % blockSize;
    if (rest > 0) yield padding.subarray(rest);
  }
  yield Buffer.alloc(2 * blockSize);
}

function checkLength(entry: TarEntry & { type: 'file' }, length: number): void {
  if (length === entry.size) return;
  throw new BerthError(
    'LAYER_UNREADABLE',
    `The file ${entry.path.toString()} changed while it was put into a layer: ${entry.size} bytes were expected.`,
  );
}

function headersOf(entry: TarEntry): Buffer {
  const path = entry.type === 'directory' ? Buffer.concat([entry.path, Buffer.from('/')]) : entry.path;
  const target = entry.type === 'symlink' ? entry.target : Buffer.alloc(0);
  const size = entry.type === 'file' ? entry.size : 0;
  const records: Buffer[] = [];
  if (path.length > nameField) records.push(paxRecord('path', path));
  if (target.length > nameField) records.push(paxRecord('linkpath', target));
  if (size > maxOctalSize) records.push(paxRecord('size', Buffer.from(String(size))));

  const header = ustarHeader({
    path: path.subarray(0, nameField),
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    size: size > maxOctalSize ? 0 : size,
    type: { file: '0', symlink: '2', directory: '5' }[entry.type],
    target: target.subarray(0, nameField),
  });
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const paxHeader = ustarHeader({
    path: Buffer.from('PaxHeader'),
    mode: 0o644,
    size: body.length,
    type: 'x',
    target: Buffer.alloc(0),
  });
  const fill = (blockSize - (body.length % blockSize)) % blockSize;
  return Buffer.concat([paxHeader, body, padding.subarray(0, fill), header]);
}

interface UstarFields {
  readonly path: Buffer;
  readonly mode: number;
  readonly size: number;
  readonly type: string;
  readonly target: Buffer;
}

function ustarHeader({ path, mode, size, type, target }: UstarFields): Buffer {
  const header = Buffer.alloc(blockSize);
  path.copy(header, 0);
  writeOctal(header, mode, 100, 8);
  writeOctal(header, 0, 108, 8); // owner
  writeOctal(header, 0, 116, 8); // group
  writeOctal(header, size, 124, 12);
  writeOctal(header, canonicalTime, 136, 12);
  header.fill(' ', 148, 156); // the checksum counts itself as spaces
  header.write(type, 156, 'latin1');
  target.copy(header, 157);
  header.write('ustar\u000000', 257, 'latin1');
  writeOctal(header, 0, 329, 8); // device numbers
  writeOctal(header, 0, 337, 8);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

function writeOctal(header: Buffer, value: number, offset: number, length: number): void {
  header.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1');
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record, its own digits too. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length += 1;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
