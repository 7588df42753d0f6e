/** Stores an image that Berth made, without HTTP. */
import { type BlobDigest, writeBlob } from '../oci/blobs/blob-store.ts';
import { type Image, type MultiPlatformImage, rootOf } from '../oci/image.ts';
import type { KeptBlobs } from './disk/kept-blobs.ts';
import type { Leases } from './leases.ts';
import type { ManifestStore } from './manifest-store.ts';
import { readManifest } from './read-manifest.ts';

export interface PutImageOptions {
  /** What building it took, in milliseconds: what losing it would cost. */
  readonly costMs?: number;
  readonly signal?: AbortSignal;
}

/** @returns which blobs had to be written, in bytes and number, and which were there */
export interface PutImageResult {
  readonly digest: BlobDigest;
  readonly writtenBytes: number;
  readonly writtenBlobs: number;
  readonly keptBlobs: number;
}

export async function putImage(
  { blobs, manifests, leases }: { blobs: KeptBlobs; manifests: ManifestStore; leases: Leases },
  repository: string,
  tag: string | null,
  image: Image | MultiPlatformImage,
  { costMs, signal }: PutImageOptions = {},
): Promise<PutImageResult> {
  const { root, images } = rootOf(image);
  const holder = `image ${root.descriptor.digest}`;
  const held = new Set<BlobDigest>();
  let [writtenBytes, writtenBlobs, kept] = [0, 0, 0];
  const ensure = async (
    { digest, size }: { readonly digest: `sha256:${string}`; readonly size: number },
    open: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> => {
    signal?.throwIfAborted();
    if (held.has(digest)) return;
    held.add(digest);
    leases.hold(digest, holder);
    if ((await blobs.size(digest)) === size) {
      kept += 1;
    } else {
      await writeBlob(blobs, open(), digest);
      writtenBlobs += 1;
      writtenBytes += size;
    }
    // Long images: what was written first must not be let go before the last is there.
    for (const earlier of held) leases.hold(earlier, holder);
  };
  try {
    for (const { config, layers } of images) {
      await ensure(config.descriptor, () => [config.bytes]);
      for (const layer of layers) await ensure(layer.descriptor, () => layer.open(signal));
    }
    const documents = images.map(({ manifest }) => manifest);
    for (const document of documents.includes(root) ? documents : [...documents, root]) {
      const { bytes, descriptor } = document;
      const read = readManifest(bytes, descriptor.digest, descriptor.mediaType);
      const isRoot = document === root;
      manifests.putManifest(
        repository,
        { ...read, ...(isRoot && costMs !== undefined ? { costMs } : {}) },
        isRoot && tag !== null ? [tag] : [],
      );
    }
    // Of someone who pulls it next: an image must not go between being made and being used.
    leases.hold(root.descriptor.digest, 'manifest');
  } finally {
    for (const digest of held) {
      leases.release(digest, holder);
      leases.release(digest, 'push');
    }
  }
  return { digest: root.descriptor.digest, writtenBytes, writtenBlobs, keptBlobs: kept };
}
