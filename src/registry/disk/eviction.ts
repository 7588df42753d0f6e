/**
 * Which images to let go when the disk is full. docs/decisions/0036-image-eviction.md has the reasoning.
 *
 * An image's worth is what losing it is likely to cost: how often it was used lately times what building it again takes.
 * It is kept at the price of the bytes that only it holds. The image with the least worth for each byte goes first.
 */
import type { BlobDigest } from '../../oci/blobs/blob-store.ts';
import type { ImageRecord } from '../manifest-store.ts';

/**
 * What losing an image costs that Berth can't build: someone has to push it again, if they still can. An hour makes such
 * an image outlast any built one that is used as often.
 */
export const pushedCostMs = 3_600_000;
/** Least cost of a build, so that what was built in no time, from a warm store, still costs its transfer. */
const leastCostMs = 1000;

/** @returns the expected cost of losing the image, in milliseconds per use lately */
export function worthOf({ heat, costMs }: Pick<ImageRecord, 'heat' | 'costMs'>): number {
  return heat * Math.max(costMs ?? pushedCostMs, leastCostMs);
}

export interface ImageSizes {
  readonly bytes: number;
  readonly sharedBytes: number;
  /** Of blobs that no other image needs. */
  readonly uniqueBytes: number;
}

/** Counts, over all images, how many need each blob. */
export function createShares(images: readonly Pick<ImageRecord, 'blobs'>[], sizeOf: (digest: BlobDigest) => number) {
  const users = new Map<BlobDigest, number>();
  for (const { blobs } of images) for (const blob of blobs) users.set(blob, (users.get(blob) ?? 0) + 1);
  return {
    /** Without the image from now on. */
    remove({ blobs }: Pick<ImageRecord, 'blobs'>): void {
      for (const blob of blobs) users.set(blob, (users.get(blob) ?? 0) - 1);
    },
    sizes({ blobs }: Pick<ImageRecord, 'blobs'>): ImageSizes {
      let bytes = 0;
      let uniqueBytes = 0;
      for (const blob of blobs) {
        bytes += sizeOf(blob);
        if (users.get(blob) === 1) uniqueBytes += sizeOf(blob);
      }
      return { bytes, sharedBytes: bytes - uniqueBytes, uniqueBytes };
    },
    /** Each blob's bytes shared out evenly among those that need it. */
    portion({ blobs }: Pick<ImageRecord, 'blobs'>): number {
      return blobs.reduce((sum, blob) => sum + sizeOf(blob) / Math.max(1, users.get(blob) ?? 1), 0);
    },
  };
}

/**
 * @param evictable images that nobody has pinned or holds
 * @returns the image to lose first: the one with the least worth for each byte that goes with it. Images that share all
 *   of theirs free nothing one by one, so among them it goes by their part of what they share.
 */
export function cheapestToLose<Image extends Pick<ImageRecord, 'blobs' | 'heat' | 'costMs' | 'usedAt'>>(
  evictable: readonly Image[],
  shares: ReturnType<typeof createShares>,
): Image | undefined {
  const rated = evictable.map((image) => ({ image, unique: shares.sizes(image).uniqueBytes }));
  const freeing = rated.filter(({ unique }) => unique > 0);
  const candidates =
    freeing.length > 0
      ? freeing.map(({ image, unique }) => ({ image, score: worthOf(image) / unique }))
      : rated.map(({ image }) => ({ image, score: worthOf(image) / Math.max(1, shares.portion(image)) }));
  let best: (typeof candidates)[number] | undefined;
  for (const candidate of candidates) {
    if (
      !best ||
      candidate.score < best.score ||
      (candidate.score === best.score && candidate.image.usedAt < best.image.usedAt)
    ) {
      best = candidate;
    }
  }
  return best?.image;
}
