/** Unpacks a layer's blob, as a stream. */
import { pipeline, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { BerthError } from '../../core/errors.ts';
import type { Compression } from '../media-types.ts';

/**
 * @returns the tar
 * @throws BerthError IMAGE_INVALID where the blob is not packed as it is said to be, or ends early
 */
export async function* decompress(blob: AsyncIterable<Uint8Array>, format: Compression): AsyncGenerator<Uint8Array> {
  // What the blob's source throws is not the format's fault.
  let failed: unknown;
  async function* watched() {
    try {
      yield* blob;
    } catch (error) {
      failed = error;
      throw error;
    }
  }
  try {
    if (format === 'none') yield* watched();
    else if (format === 'gzip') yield* through(watched(), zlib.createGunzip({ chunkSize: 256 * 1024 }));
    else if ('createZstdDecompress' in zlib) yield* through(watched(), nativeZstd());
    else yield* unzstd(watched());
  } catch (error) {
    if (error instanceof BerthError || error === failed) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new BerthError('IMAGE_INVALID', `A layer is no whole ${format} stream: ${why}.`, { cause: error });
  }
}

async function* through(source: AsyncIterable<Uint8Array>, transform: NodeJS.ReadWriteStream) {
  // Its error also ends the transform, where the loop below meets it.
  pipeline(Readable.from(source), transform, () => undefined);
  for await (const piece of transform) yield piece as unknown as Buffer;
}

/** Node has it from 22.15 on, and the types of 20 do not know it. */
function nativeZstd(): NodeJS.ReadWriteStream {
  return (zlib as unknown as { createZstdDecompress(): NodeJS.ReadWriteStream }).createZstdDecompress();
}

async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { Decompress } = await import('fzstd');
  const ready: Uint8Array[] = [];
  const decompressor = new Decompress((piece) => void ready.push(piece));
  for await (const piece of source) {
    decompressor.push(piece);
    yield* ready.splice(0);
  }
  decompressor.push(new Uint8Array(0), true);
  yield* ready;
}
