/** Where `berth build --to` brings an image: an engine of this host, a file or folder, or a registry. */
import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { randomBytes } from 'node:crypto';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { type Image, type MultiPlatformImage, rootOf } from '../oci/image.ts';
import { dockerArchive } from '../oci/targets/docker-archive.ts';
import { ociArchive, writeOciLayout } from '../oci/targets/oci-layout.ts';

export type ImageTarget =
  | { readonly kind: 'docker' | 'embedded' }
  | { readonly kind: 'oci-archive' | 'docker-archive' | 'oci'; readonly path: string }
  | { readonly kind: 'registry'; readonly reference: string };

export type FileTarget = Extract<ImageTarget, { readonly path: string }>;

/**
 * Reads `docker`, `embedded`, `oci-archive:FILE`, `docker-archive:FILE`, `oci:DIR` or `registry:REF`.
 * @throws BerthError REQUEST_INVALID
 */
export function parseImageTarget(text: string): ImageTarget {
  if (text === 'docker' || text === 'embedded') return { kind: text };
  const [, kind, rest = ''] = /^(oci-archive|docker-archive|oci|registry):(.+)$/.exec(text) ?? [];
  if (kind === 'registry') return { kind, reference: rest };
  if (kind === 'oci-archive' || kind === 'docker-archive' || kind === 'oci') return { kind, path: rest };
  throw new BerthError('REQUEST_INVALID', `\`${text}\` is no place for an image.`, {
    hint: 'Use docker, embedded, oci-archive:FILE, docker-archive:FILE, oci:DIR or registry:REFERENCE.',
  });
}

/**
 * Writes an image to a file or folder. A file appears whole, by a rename.
 * @returns the bytes that were written; of a folder, those of its new blobs
 * @throws BerthError REQUEST_INVALID when it can't be written there or has two platforms where one fits, DISK_FULL
 */
export async function writeImageFile(
  target: FileTarget,
  image: Image | MultiPlatformImage,
  { tag, signal }: { readonly tag?: string; readonly signal?: AbortSignal },
): Promise<number> {
  const options = { ...(tag === undefined ? {} : { tag }), ...(signal ? { signal } : {}) };
  try {
    switch (target.kind) {
      case 'oci':
        return await writeOciLayout(target.path, image, options);
      case 'oci-archive':
        return await writeWhole(target.path, ociArchive(image, options));
      case 'docker-archive': {
        const { images } = rootOf(image);
        const [one] = images;
        if (!one || images.length > 1) {
          throw new BerthError('REQUEST_INVALID', 'A docker-archive holds one platform: name one, or use oci-archive.');
        }
        const tags = tag === undefined ? [] : [tag];
        return await writeWhole(target.path, dockerArchive(one, { ...(signal ? { signal } : {}), tags }));
      }
    }
  } catch (error) {
    if (isErrno(error, 'ENOSPC', 'EDQUOT')) {
      throw new BerthError('DISK_FULL', `There is no space for ${target.path}.`, { cause: error });
    }
    if (isErrno(error, 'ENOENT', 'EACCES', 'EEXIST', 'ENOTDIR', 'EISDIR', 'EROFS', 'EPERM')) {
      throw new BerthError('REQUEST_INVALID', `${target.path} can't be written.`, { cause: error });
    }
    throw error;
  }
}

async function writeWhole(file: string, bytes: AsyncIterable<Uint8Array>): Promise<number> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.part`;
  await mkdir(dirname(file), { recursive: true });
  try {
    await pipeline(Readable.from(bytes, { objectMode: true, highWaterMark: 1 }), createWriteStream(temporary));
    const handle = await open(temporary, 'r+');
    await handle.sync().finally(() => handle.close());
    const { size } = await stat(temporary);
    await rename(temporary, file);
    return size;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
