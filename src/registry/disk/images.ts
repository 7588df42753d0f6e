/** Images as wholes: what each takes, pins, removal, and making room when the limit is reached. */
import { BerthError } from '../../core/errors.ts';
import type { Emit } from '../../core/events.ts';
import type { BlobDigest } from '../../oci/blobs/blob-store.ts';
import type { Leases } from '../leases.ts';
import type { ImageRecord, ManifestStore } from '../manifest-store.ts';
import { cheapestToLose, createShares } from './eviction.ts';
import type { KeptBlobs } from './kept-blobs.ts';

export interface ImageUsage {
  readonly digest: BlobDigest;
  /** `repository:tag`, or `repository@digest` where it has no tag. */
  readonly names: readonly string[];
  readonly bytes: number;
  readonly sharedBytes: number;
  readonly uniqueBytes: number;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly usedAt: string;
  /** What building it anew would take; null for what was pushed. */
  readonly costMs: number | null;
  readonly pinned: boolean;
}

export interface RegistryUsage {
  readonly images: readonly ImageUsage[];
  /** Of all blobs and uploads. */
  readonly bytes: number;
  /** Of blobs that no image needs: layers kept for the next image, and what was left. */
  readonly looseBytes: number;
  readonly maxBytes: number | null;
}

export interface Images {
  usage(): RegistryUsage;
  /**
   * @param reference `repository:tag`, a digest, or the beginning of one
   * @throws BerthError IMAGE_UNKNOWN
   */
  pin(reference: string, pinned: boolean): BlobDigest;
  /** Removes an image under all its names, and its blobs where nothing needs or uses them. @throws BerthError IMAGE_UNKNOWN */
  remove(reference: string): Promise<{ readonly digest: BlobDigest; readonly freedBytes: number }>;
  /**
   * Keeps an image from eviction while something uses it, such as an engine that loads it.
   * @returns ends that
   */
  hold(digest: BlobDigest): () => void;
  /**
   * Deletes blobs that no image needs and that were not written or used lately.
   * @param options olderThanMs: default the lease's time
   */
  sweep(options: {
    readonly dryRun?: boolean;
    readonly olderThanMs?: number;
  }): Promise<{ blobs: number; bytes: number }>;
  /** Frees at least that many bytes, where that can be without touching what is pinned or in use. */
  makeRoom(bytes: number): Promise<void>;
}

export interface ImagesOptions {
  readonly manifests: ManifestStore;
  readonly leases: Leases;
  /** How long a blob without an image may wait for one. */
  readonly orphanMs: number;
  readonly blobs: () => KeptBlobs;
  readonly emit: Emit;
  readonly now?: () => number;
}

/** More is freed than is needed at once, so that a full disk does not evict at each write. */
const spareShare = 0.02;

export function createImages(options: ImagesOptions): Images {
  const { manifests, leases, orphanMs, emit } = options;
  const now = options.now ?? Date.now;
  const sizeOf = (digest: BlobDigest) => manifests.knownBlob(digest) ?? 0;
  const find = (reference: string): BlobDigest => {
    const digest = manifests.findImage(reference);
    if (digest) return digest;
    throw new BerthError('IMAGE_UNKNOWN', `There is no image ${reference}.`);
  };
  const orphans = (olderThanMs: number) =>
    manifests
      .knownBlobs()
      .filter(
        ({ digest, createdAt }) =>
          now() - createdAt >= olderThanMs && !manifests.isNeeded(digest) && !leases.isHeld(digest),
      )
      .sort((a, b) => a.createdAt - b.createdAt);
  const forget = async (digest: BlobDigest, { unlessPinned = false } = {}): Promise<number> => {
    let freed = 0;
    for (const blob of manifests.forgetImage(digest, { unlessPinned })) freed += await options.blobs().drop(blob);
    return freed;
  };

  return {
    usage() {
      const images = manifests.images();
      const sizes = new Map(manifests.knownBlobs().map(({ digest, size }) => [digest, size]));
      const shares = createShares(images, (digest) => sizes.get(digest) ?? 0);
      const needed = new Set(images.flatMap(({ blobs }) => blobs));
      return {
        images: images
          .map((image) => ({ ...describe(image), ...shares.sizes(image) }))
          .sort((a, b) => (a.usedAt < b.usedAt ? 1 : -1)),
        bytes: options.blobs().usedBytes,
        looseBytes: [...sizes].reduce((sum, [digest, size]) => sum + (needed.has(digest) ? 0 : size), 0),
        maxBytes: options.blobs().maxBytes,
      };
    },
    pin(reference, pinned) {
      const digest = find(reference);
      manifests.pinImage(digest, pinned);
      return digest;
    },
    async remove(reference) {
      const digest = find(reference);
      return { digest, freedBytes: await forget(digest) };
    },
    hold(digest) {
      const holder = `hold:${Math.random()}`;
      const renew = () => leases.hold(digest, holder);
      renew();
      const renewing = setInterval(renew, 1000);
      renewing.unref();
      return () => {
        clearInterval(renewing);
        leases.release(digest, holder);
      };
    },
    async sweep({ dryRun = false, olderThanMs = orphanMs }) {
      let blobs = 0;
      let bytes = 0;
      for (const { digest, size } of orphans(olderThanMs)) {
        const freed = dryRun ? size : await options.blobs().drop(digest);
        bytes += freed;
        if (freed > 0) blobs += 1;
      }
      return { blobs, bytes };
    },
    async makeRoom(bytes) {
      const wanted = bytes + Math.floor((options.blobs().maxBytes ?? 0) * spareShare);
      let freed = 0;
      for (const { digest } of orphans(orphanMs)) {
        if (freed >= wanted) return;
        freed += await options.blobs().drop(digest);
      }
      const images = manifests.images();
      const sizes = new Map<BlobDigest, number>();
      const shares = createShares(images, (digest) => {
        const size = sizes.get(digest) ?? sizeOf(digest);
        sizes.set(digest, size);
        return size;
      });
      const inUse = ({ manifests: members, blobs }: ImageRecord) =>
        members.some((member) => leases.isHeld(member)) ||
        blobs.some((blob) => leases.isHeld(blob) && shares.sizes({ blobs: [blob] }).uniqueBytes > 0);
      const evictable = new Set(images.filter((image) => !image.pinned));
      while (freed < wanted) {
        const image = cheapestToLose([...evictable], shares);
        if (!image) return;
        evictable.delete(image);
        // Asked at the last moment: a pull may have begun while others were being deleted.
        if (inUse(image)) continue;
        shares.remove(image);
        const got = await forget(image.digest, { unlessPinned: true });
        freed += got;
        emit({ type: 'image.evicted', digest: image.digest, names: describe(image).names, freedBytes: got });
      }
    },
  };
}

function describe(image: ImageRecord): Omit<ImageUsage, 'bytes' | 'sharedBytes' | 'uniqueBytes'> {
  const { digest, names, createdAt, usedAt, costMs, pinned } = image;
  return {
    digest,
    names: names.map(({ repository, tag }) => (tag === null ? `${repository}@${digest}` : `${repository}:${tag}`)),
    createdAt: new Date(createdAt).toISOString(),
    usedAt: new Date(usedAt).toISOString(),
    costMs,
    pinned,
  };
}
