/** Pushes images: only blobs that the registry lacks move, several at once; the name is given last, when all is there. */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { type Emit, silent } from '../../core/events.ts';
import { type Image, type MultiPlatformImage, rootOf } from '../image.ts';
import type { RegistryClient } from './client.ts';
import { inParallel } from './in-parallel.ts';
import { formatReference, type ImageReference } from './reference.ts';
import { type BlobToSend, uploadBlob, type Uploaded } from './upload.ts';

export interface PushContext {
  readonly emit?: Emit;
  readonly signal?: AbortSignal;
  /** Repositories of the same registry that may have some of the blobs, the likeliest first. */
  readonly mountFrom?: readonly string[];
  /** Blobs under way at the same time. Default 4. */
  readonly concurrency?: number;
  /** Bytes to a request. Default: a whole blob. */
  readonly chunkBytes?: number;
}

export interface PushResult {
  /** With the tag that was given, if any, and the digest. */
  readonly reference: string;
  /** Of the manifest, or of the index of several platforms. */
  readonly digest: Digest;
  readonly movedBytes: number;
  readonly movedBlobs: number;
  /** Taken from another repository of the registry. */
  readonly mountedBlobs: number;
  /** Those that were there. */
  readonly keptBlobs: number;
}

/** Blobs that are this small are not worth a progress of their own, nor a line of their own in memory. */
const defaultConcurrency = 4;

/**
 * @param reference where to: with a tag, or with the digest that the image has
 * @throws BerthError REGISTRY_UNREACHABLE, REGISTRY_DENIED, REGISTRY_REFUSED, LAYER_UNREADABLE, CANCELLED, and
 *   REFERENCE_INVALID for another digest than the image's. Nothing is named then; blobs that moved stay.
 */
export async function pushImage(
  client: RegistryClient,
  image: Image | MultiPlatformImage,
  reference: ImageReference,
  context: PushContext = {},
): Promise<PushResult> {
  const { root, images } = rootOf(image);
  const { digest } = root.descriptor;
  if (reference.digest !== undefined && reference.digest !== digest) {
    throw new BerthError(
      'REFERENCE_INVALID',
      `The image is ${digest}, so it cannot be pushed as ${formatReference(reference)}.`,
    );
  }
  const blobs = blobsOf(images);
  const progress = pushProgress(blobs, context.emit ?? silent, formatReference(reference));
  const outcomes = await inParallel(
    blobs,
    context.concurrency ?? defaultConcurrency,
    async (blob, signal) => {
      const outcome = await uploadBlob(client, reference, blob, {
        mountFrom: context.mountFrom ?? [],
        ...(context.chunkBytes === undefined ? {} : { chunkBytes: context.chunkBytes }),
        onProgress: (sent) => progress.set(blob, sent),
        signal,
      });
      progress.set(blob, blob.size);
      return { blob, outcome };
    },
    context.signal,
  );
  if ('index' in image) {
    for (const { manifest } of images) {
      const { registry, repository } = reference;
      await client.putManifest({ registry, repository, digest: manifest.descriptor.digest }, manifest, context.signal);
    }
  }
  const { registry, repository, tag } = reference;
  const named = tag === undefined ? { registry, repository, digest } : { registry, repository, tag };
  await client.putManifest(named, root, context.signal);
  const count = (wanted: Uploaded) => outcomes.filter(({ outcome }) => outcome === wanted);
  return {
    reference: formatReference({ ...named, digest }),
    digest,
    movedBytes: count('moved').reduce((sum, { blob }) => sum + blob.size, 0),
    movedBlobs: count('moved').length,
    mountedBlobs: count('mounted').length,
    keptBlobs: count('kept').length,
  };
}

/** @returns each blob once, the largest first, so that none of them is left alone at the end */
function blobsOf(images: readonly Image[]): BlobToSend[] {
  const blobs = new Map<Digest, BlobToSend>();
  for (const { config, layers } of images) {
    const { digest, size } = config.descriptor;
    blobs.set(digest, { digest, size, content: config.bytes });
    for (const layer of layers) {
      const { digest, size } = layer.descriptor;
      blobs.set(digest, { digest, size, content: (signal) => layer.open(signal) });
    }
  }
  return [...blobs.values()].sort((a, b) => b.size - a.size);
}

/** Bytes that are at the registry, also those that were there: what is left is what is still to be waited for. */
function pushProgress(blobs: readonly BlobToSend[], emit: Emit, label: string) {
  const total = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const sent = new Map<Digest, number>();
  let done = 0;
  return {
    set(blob: BlobToSend, bytes: number): void {
      done += bytes - (sent.get(blob.digest) ?? 0);
      sent.set(blob.digest, bytes);
      emit({ type: 'progress', phase: 'push', unit: 'bytes', done, total, label });
    },
  };
}
