/**
 * A store of blobs within a limit: a wrapper with the same interface that counts what is written, has room made before
 * the limit is passed, and keeps a ledger, so that what is there is known without asking the disk.
 */
import { KeyedMutex } from '../../core/keyed-mutex.ts';
import { BerthError } from '../../core/errors.ts';
import { formatBytes } from '../../core/format.ts';
import { type BlobDigest, type BlobDraft, type BlobStore, missingBlob } from '../../oci/blobs/blob-store.ts';
import type { Leases } from '../leases.ts';
import type { ManifestStore } from '../manifest-store.ts';

export interface KeptBlobs extends BlobStore {
  /** Bytes of all blobs and drafts. */
  readonly usedBytes: number;
  /** null: no limit. */
  readonly maxBytes: number | null;
  /**
   * Deletes a blob, unless something needs or holds it.
   * @returns the bytes that this freed
   */
  drop(digest: BlobDigest): Promise<number>;
  /** Resolves when the ledger is the same as what is in the store. */
  readonly reconciled: Promise<void>;
}

export interface KeptBlobsOptions {
  readonly blobs: BlobStore;
  readonly manifests: ManifestStore;
  readonly leases: Leases;
  /** Most bytes of blobs and drafts; null: no limit. */
  readonly maxBytes: number | null;
  /** Frees at least that many bytes where it can. One call at a time. */
  readonly makeRoom: (bytes: number) => Promise<void>;
}

/** Holds what was just written until its manifest comes. */
const pushing = 'push';

export function keptBlobs(options: KeptBlobsOptions): KeptBlobs {
  const { blobs, manifests, leases, maxBytes } = options;
  const names = new KeyedMutex<BlobDigest>();
  const draftSizes = new Map<string, number>();
  let used = 0;

  const reconciled = reconcile();
  // Whoever writes awaits it and gets its error.
  reconciled.catch(() => undefined);

  /** After a crash there are blobs that were renamed and not written down, and the opposite when files were taken away. */
  async function reconcile(): Promise<void> {
    const known = new Map(manifests.knownBlobs().map(({ digest, size }) => [digest, size]));
    for (const size of known.values()) used += size;
    const unseen = new Set(known.keys());
    for await (const { digest, size } of blobs.list()) {
      unseen.delete(digest);
      if (manifests.knownBlob(digest) === size) continue;
      used += size - (manifests.knownBlob(digest) ?? 0);
      manifests.recordBlob(digest, size);
    }
    for (const digest of unseen) {
      await names.run(digest, async () => {
        if ((await blobs.size(digest)) !== undefined) return;
        used -= manifests.knownBlob(digest) ?? 0;
        manifests.forgetBlob(digest);
      });
    }
    for await (const { id, size } of blobs.drafts()) {
      if (draftSizes.has(id)) continue;
      draftSizes.set(id, size);
      used += size;
    }
  }

  const flight = new KeyedMutex<'room'>();
  let waiting = 0;
  const makeRoomAndTake = async (bytes: number, limit: number): Promise<void> => {
    if (used + bytes > limit) await options.makeRoom(used + bytes - limit);
    if (used + bytes > limit) {
      throw new BerthError(
        'BLOBS_FULL',
        `There is no room for ${formatBytes(bytes)}: the limit is ${formatBytes(limit)}, ${formatBytes(used)} are in use.`,
        { details: { maxBytes: limit, usedBytes: used } },
      );
    }
    used += bytes;
  };
  const take = async (bytes: number): Promise<void> => {
    // Who comes while room is being made waits in line: it would take what was freed for another.
    if (maxBytes === null || (waiting === 0 && used + bytes <= maxBytes)) {
      used += bytes;
      return;
    }
    waiting += 1;
    try {
      await flight.run('room', () => makeRoomAndTake(bytes, maxBytes));
    } finally {
      waiting -= 1;
    }
  };

  const kept = (draft: BlobDraft): BlobDraft => {
    const { id } = draft;
    if (!draftSizes.has(id)) draftSizes.set(id, draft.size);
    const forget = (): number => {
      const size = draftSizes.get(id) ?? 0;
      draftSizes.delete(id);
      return size;
    };
    return {
      id,
      get size() {
        return draft.size;
      },
      digest: () => draft.digest(),
      async write(piece) {
        await take(piece.length);
        draftSizes.set(id, (draftSizes.get(id) ?? 0) + piece.length);
        await draft.write(piece);
      },
      commit: (expected) =>
        // The lock keeps a deletion of the same blob from taking the new file with it.
        names.run(expected ?? draft.digest(), async () => {
          const result = await draft.commit(expected);
          forget();
          leases.hold(result.digest, pushing);
          used -= manifests.knownBlob(result.digest) ?? 0;
          manifests.recordBlob(result.digest, result.size);
          return result;
        }),
      suspend: () => draft.suspend(),
      async discard() {
        await draft.discard();
        used -= forget();
      },
    };
  };

  return {
    get usedBytes() {
      return used;
    },
    maxBytes,
    reconciled,
    size: (digest) => Promise.resolve(manifests.knownBlob(digest)),
    async *read(digest, readOptions) {
      if (manifests.knownBlob(digest) === undefined) throw missingBlob(digest);
      yield* blobs.read(digest, readOptions);
    },
    async draft() {
      await reconciled;
      return kept(await blobs.draft());
    },
    async resume(id) {
      await reconciled;
      const draft = await blobs.resume(id);
      return draft && kept(draft);
    },
    drafts: () => blobs.drafts(),
    async discardDraft(id) {
      await blobs.discardDraft(id);
      used -= draftSizes.get(id) ?? 0;
      draftSizes.delete(id);
    },
    async delete(digest) {
      await this.drop(digest);
    },
    async drop(digest) {
      await reconciled;
      return names.run(digest, async () => {
        const size = manifests.knownBlob(digest);
        if (size === undefined || manifests.isNeeded(digest) || leases.isHeld(digest)) return 0;
        // The ledger first: from here on the blob counts as absent, and a crash leaves a file that is found again.
        manifests.forgetBlob(digest);
        await blobs.delete(digest);
        used -= size;
        return size;
      });
    },
    list: () => blobs.list(),
    ...(blobs.file ? { file: (digest: BlobDigest) => blobs.file?.(digest) ?? '' } : {}),
    ...(blobs.redirect
      ? { redirect: async (digest: BlobDigest, seconds: number) => (await blobs.redirect?.(digest, seconds)) ?? '' }
      : {}),
  };
}
