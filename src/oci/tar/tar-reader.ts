/**
 * Reads tar archives that come from outside: `ustar`, `pax` (POSIX.1-2001) and GNU tar's long names, as a stream. Names
 * and extended attributes stay bytes, so that file capabilities and names that are not UTF-8 survive; docs/decisions/0021
 * says why no library reads them.
 */
import { BerthError } from '../../core/errors.ts';
import { blockSize, fillOf, longName, type MemberType, type TarMember, xattrPrefix } from './tar-member.ts';

/** A member, with its content. */
export interface ReadMember extends TarMember {
  /** To be read, or left, before the next member is asked for. */
  content(): AsyncIterable<Uint8Array>;
}

/** Of names, link targets and attributes of one member, together: more is an attack and no file. */
const maxHeaderBytes = 4 * 1024 * 1024;

const types: Readonly<Record<string, MemberType>> = {
  ...{ '0': 'file', '\0': 'file', '7': 'file', '1': 'link', '2': 'symlink' },
  ...{ '3': 'character', '4': 'block', '5': 'directory', '6': 'fifo' },
};

/**
 * @returns the members in the archive's order; the source is read to its end
 * @throws BerthError IMAGE_INVALID for what is no tar, ends early, or has members that no layer has (sparse files)
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<ReadMember, void, undefined> {
  const input = new Input(source);
  let shared: ReadonlyMap<string, Buffer> = new Map();
  let own: ReadonlyMap<string, Buffer> = new Map();
  let longPath: Buffer | undefined;
  let longTarget: Buffer | undefined;
  for (;;) {
    const block = await input.take(blockSize, 'may end');
    if (block === undefined || block.every((byte) => byte === 0)) break;
    checkSum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = wholeOf(own.get('size') ?? shared.get('size')) ?? numberAt(block, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw invalid('a member has no valid size');
    if (['x', 'g', longName.path, longName.target].includes(flag)) {
      const length = numberAt(block, 124, 12);
      if (!(length >= 0 && length <= maxHeaderBytes)) throw invalid('a header is too large');
      // A copy: the input's buffers are used again.
      const body = Buffer.from(await input.must(length));
      await input.must(fillOf(length).length);
      if (flag === 'x') own = paxRecords(body);
      else if (flag === 'g') shared = new Map([...shared, ...paxRecords(body)]);
      else if (flag === longName.path) longPath = upToZero(body);
      else longTarget = upToZero(body);
      continue;
    }
    const records = new Map([...shared, ...own]);
    if ([...records.keys()].some((key) => key.startsWith('GNU.sparse.'))) throw invalid('it has a sparse file');
    const path = records.get('path') ?? longPath ?? pathAt(block);
    const type = types[flag] === 'file' && path.at(-1) === 0x2f ? 'directory' : types[flag];
    if (type === undefined) throw invalid(`it has a member of type ${JSON.stringify(flag)}`);
    // What has no content may have a size all the same, which says nothing.
    const contentSize = type === 'file' ? size : 0;
    let left = contentSize;
    yield {
      type,
      path: Buffer.from(path),
      target: Buffer.from(records.get('linkpath') ?? longTarget ?? upToZero(block.subarray(157, 257))),
      mode: numberAt(block, 100, 8) & 0o7777,
      uid: wholeOf(records.get('uid')) ?? numberAt(block, 108, 8),
      gid: wholeOf(records.get('gid')) ?? numberAt(block, 116, 8),
      mtime: wholeOf(records.get('mtime')) ?? numberAt(block, 136, 12),
      size: contentSize,
      device: { major: numberAt(block, 329, 8), minor: numberAt(block, 337, 8) },
      xattrs: xattrsOf(records),
      async *content() {
        while (left > 0) {
          const piece = await input.some(left);
          left -= piece.length;
          yield piece;
        }
      },
    };
    while (left > 0) left -= (await input.some(left)).length;
    await input.must(fillOf(contentSize).length);
    own = new Map();
    longPath = longTarget = undefined;
  }
  await input.drain();
}

function invalid(why: string): BerthError {
  return new BerthError('IMAGE_INVALID', `A layer is no tar that can be unpacked: ${why}.`);
}

/** Pieces of a stream, cut as they are needed. */
class Input {
  readonly #source: AsyncIterator<Uint8Array>;
  #piece: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** @returns exactly so many bytes, or undefined where the stream has ended before them */
  async take(length: number, atEnd: 'may end' | 'must not end'): Promise<Buffer | undefined> {
    while (this.#piece.length < length) {
      const next = await this.#source.next();
      if (next.done) {
        if (atEnd === 'may end' && this.#piece.length === 0) return undefined;
        throw invalid('it ends early');
      }
      const { buffer, byteOffset, byteLength } = next.value;
      const more = Buffer.from(buffer, byteOffset, byteLength);
      this.#piece = this.#piece.length === 0 ? more : Buffer.concat([this.#piece, more]);
    }
    const taken = this.#piece.subarray(0, length);
    this.#piece = this.#piece.subarray(length);
    return taken;
  }

  async must(length: number): Promise<Buffer> {
    return (await this.take(length, 'must not end')) ?? Buffer.alloc(0);
  }

  /** @returns at least one byte, at most so many */
  async some(most: number): Promise<Buffer> {
    while (this.#piece.length === 0) {
      const next = await this.#source.next();
      if (next.done) throw invalid('it ends early');
      this.#piece = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const piece = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(piece.length);
    return piece;
  }

  async drain(): Promise<void> {
    while (!(await this.#source.next()).done);
  }
}

function upToZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** The name field, behind the prefix that `ustar` has for longer names and GNU tar's own format uses otherwise. */
function pathAt(block: Buffer): Buffer {
  const name = upToZero(block.subarray(0, 100));
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? upToZero(block.subarray(345, 500)) : undefined;
  return prefix && prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name;
}

/** Octal digits, or base 256 where the first bit is set. */
function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0;
  if (first >= 0x80) {
    let value = first === 0xff ? -1 : first & 0x7f;
    for (let index = at + 1; index < at + length; index += 1) value = value * 256 + (block[index] ?? 0);
    return value;
  }
  const digits = upToZero(block.subarray(at, at + length))
    .toString('latin1')
    .trim();
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw invalid('a number in a header is none');
  return Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20;
  for (let at = 0; at < blockSize; at += 1) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  if (sum !== numberAt(block, 148, 8)) throw invalid('the sum of a header is wrong');
}

function paxRecords(body: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(body.toString('latin1', at, space));
    const equals = body.indexOf(0x3d, space);
    if (!Number.isInteger(length) || length <= 0 || at + length > body.length || equals < 0 || equals >= at + length) {
      throw invalid('a pax header is not of its form');
    }
    records.set(body.toString('utf8', space + 1, equals), body.subarray(equals + 1, at + length - 1));
    at += length;
  }
  return records;
}

/** Whole seconds or ids; a fraction of a second is left out. */
function wholeOf(value: Buffer | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Math.floor(Number(value.toString('latin1')));
  if (!Number.isSafeInteger(number)) throw invalid('a number in a pax header is none');
  return number;
}

function xattrsOf(records: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  const found = [...records].filter(([key]) => key.startsWith(xattrPrefix));
  return new Map(found.map(([key, value]) => [key.slice(xattrPrefix.length), value]));
}
