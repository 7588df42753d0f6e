/** Unpacks a layer into a folder as overlayfs wants it, while its digests are taken. */
import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import type { Digest } from '../../../core/digest.ts';
import { BerthError } from '../../../core/errors.ts';
import { isErrno } from '../../../core/files.ts';
import { decompress } from '../../../oci/layer/decompress.ts';
import type { Layer } from '../../../oci/layer/layer.ts';
import { compressionOf } from '../../../oci/media-types.ts';
import { fillOf, memberHeaders, type TarMember } from '../../../oci/tar/tar-member.ts';
import { readTar } from '../../../oci/tar/tar-reader.ts';
import { type LayerMembers, layerMembers, type Whiteouts } from './layer-members.ts';
import { untar } from './untar.ts';

export interface UnpackOptions {
  readonly signal?: AbortSignal;
  /** Called with the bytes of the blob as they come. */
  readonly onBytes?: (bytes: number) => void;
  /** Owners and overlayfs's own attributes are root's to set. */
  readonly asRoot: boolean;
}

/**
 * @param directory an empty folder; what is in it after a failure counts for nothing
 * @returns bytes of the tar
 * @throws BerthError IMAGE_INVALID where the layer is damaged, is not what its digests say, or cannot be unpacked safely
 */
export async function unpackLayer(layer: Layer, directory: string, options: UnpackOptions): Promise<number> {
  const { mediaType, digest } = layer.descriptor;
  const compression = compressionOf(mediaType);
  if (!compression)
    throw new BerthError('IMAGE_INVALID', `The layer ${digest} is of a type that is not known: ${mediaType}.`);
  const blob = hashed(layer.open(options.signal), options);
  const tar = compression === 'none' ? blob : hashed(decompress(blob, compression), {});
  const members = layerMembers();
  await untar(safeArchive(tar, members), directory, options.asRoot);
  if (blob.digest() !== digest || tar.digest() !== layer.diffId) {
    throw new BerthError('IMAGE_INVALID', `The layer ${digest} is damaged: its bytes have another digest.`);
  }
  const marks = whiteoutMembers(members.whiteouts(), directory, options.asRoot);
  if (marks.length > 0) await untar(archiveOf(marks), directory, options.asRoot);
  return tar.size();
}

/** Passes a stream on and takes its digest. */
function hashed(source: AsyncIterable<Uint8Array>, { signal, onBytes }: Partial<UnpackOptions>) {
  const hash = createHash('sha256');
  let size = 0;
  return {
    async *[Symbol.asyncIterator]() {
      for await (const piece of source) {
        if (signal?.aborted) throw new BerthError('CANCELLED', 'Unpacking a layer was cancelled.');
        hash.update(piece);
        size += piece.length;
        onBytes?.(piece.length);
        yield piece;
      }
    },
    digest: (): Digest => `sha256:${hash.copy().digest('hex')}`,
    size: () => size,
  };
}

async function* safeArchive(tar: AsyncIterable<Uint8Array>, members: LayerMembers) {
  for await (const member of readTar(tar)) {
    const safe = members.take(member);
    if (!safe) continue;
    yield memberHeaders(safe);
    if (safe.size === 0) continue;
    yield* member.content();
    yield fillOf(safe.size);
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- what takes it takes streams
async function* archiveOf(members: readonly TarMember[]) {
  for (const member of members) yield memberHeaders(member);
}

/**
 * What is taken away, in overlayfs's words (Documentation/filesystems/overlayfs.rst): a character device 0,0 hides a
 * name, an attribute hides all that a folder has below. What the layer itself has in the place stays: a file hides what is
 * below anyway, and a folder must be made to.
 */
function whiteoutMembers({ removed, opaque }: Whiteouts, directory: string, asRoot: boolean): TarMember[] {
  const there = (path: string) => {
    try {
      return lstatSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')]));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  };
  const plain = { target: Buffer.alloc(0), uid: 0, gid: 0, mtime: 0, size: 0, device: { major: 0, minor: 0 } };
  const folders = new Set(opaque);
  const gone: TarMember[] = [];
  for (const path of removed) {
    const found = there(path);
    if (found?.isDirectory()) folders.add(path);
    if (found) continue;
    gone.push({ ...plain, type: 'character', path: Buffer.from(path, 'latin1'), mode: 0, xattrs: new Map() });
  }
  const xattrs = new Map([[asRoot ? 'trusted.overlay.opaque' : 'user.overlay.opaque', Buffer.from('y')]]);
  const hiding = [...folders].map((path): TarMember => {
    const found = there(path);
    const owner = found ? { uid: found.uid, gid: found.gid, mtime: Math.floor(found.mtimeMs / 1000) } : {};
    const mode = found ? found.mode & 0o7777 : 0o755;
    return { ...plain, ...owner, type: 'directory', path: Buffer.from(path || '.', 'latin1'), mode, xattrs };
  });
  return [...hiding, ...gone];
}
