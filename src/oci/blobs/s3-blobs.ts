/**
 * Blobs in a bucket of an S3-compatible store. What is under way lies in a folder of this host and is sent when it is
 * whole and its digest is known: parts of an upload may be smaller than the store takes, and only so can one be resumed.
 */
import { BerthError } from '../../core/errors.ts';
import { KeyedMutex } from '../../core/keyed-mutex.ts';
import type { S3mini } from 's3mini';
import type { Digest } from '../../core/digest.ts';
import { type BlobDigest, blobDigestSchema, type BlobDraft, type BlobStore, missingBlob } from './blob-store.ts';
import { diskBlobs } from './disk-blobs.ts';

export interface S3BlobsOptions {
  /** With the bucket: `https://s3.eu-central-1.amazonaws.com/bucket`, and a prefix after it if there is one. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** A folder for drafts; it must be on a disk that has room for the largest layers. */
  readonly stagingFolder: string;
}

/** Bytes of a part; the store takes 10,000 of them. One is in memory for each commit. */
const partSize = 32 * 1024 * 1024;

export function s3Blobs(options: S3BlobsOptions): BlobStore & Required<Pick<BlobStore, 'redirect'>> {
  const staging = diskBlobs(options.stagingFolder);
  const commits = new KeyedMutex<BlobDigest>();
  // Loaded when it is used: a daemon that keeps its blobs on disk starts without it.
  let loading: Promise<S3mini> | undefined;
  const client = (): Promise<S3mini> =>
    (loading ??= import('s3mini').then(
      (library) =>
        new library.S3mini({
          endpoint: options.endpoint,
          region: options.region,
          accessKeyId: options.accessKeyId,
          secretAccessKey: options.secretAccessKey,
        }),
    ));
  const size = async (digest: BlobDigest): Promise<number | undefined> =>
    reported(async () => {
      const s3 = await client();
      const found = await s3.objectExists(keyOf(digest));
      return found === true ? s3.getContentLength(keyOf(digest)) : undefined;
    });

  const send = async (digest: BlobDigest, bytes: number): Promise<void> => {
    const s3 = await client();
    const key = keyOf(digest);
    if (bytes <= partSize) {
      await s3.putObject(key, await wholeOf(staging.read(digest), bytes), 'application/octet-stream');
      return;
    }
    const id = await s3.getMultipartUploadId(key, 'application/octet-stream');
    try {
      const parts = [];
      for (let start = 0; start < bytes; start += partSize) {
        const length = Math.min(partSize, bytes - start);
        const part = await wholeOf(staging.read(digest, { range: { start, length } }), length);
        parts.push(await s3.uploadPart(key, id, part, parts.length + 1));
      }
      await s3.completeMultipartUpload(key, id, parts);
    } catch (error) {
      await s3.abortMultipartUpload(key, id).catch(() => undefined);
      throw error;
    }
  };

  const staged = (draft: BlobDraft): BlobDraft => ({
    id: draft.id,
    get size() {
      return draft.size;
    },
    write: (piece) => draft.write(piece),
    digest: () => draft.digest(),
    suspend: () => draft.suspend(),
    discard: () => draft.discard(),
    commit: <Name extends BlobDigest = Digest>(expected?: Name) =>
      commits.run(expected ?? draft.digest(), async () => {
        const result = await draft.commit(expected);
        try {
          await reported(() => send(result.digest, result.size));
        } finally {
          await staging.delete(result.digest);
        }
        return result;
      }),
  });

  return {
    size,
    async *read(digest, { range, signal } = {}) {
      if (range?.length === 0) return;
      signal?.throwIfAborted();
      const body = await reported(async () => {
        const s3 = await client();
        const response = range
          ? await s3.getObjectRaw(keyOf(digest), false, range.start, range.start + range.length)
          : await s3.getObjectResponse(keyOf(digest));
        if (!response || response.status === 404) throw missingBlob(digest);
        return response.body;
      });
      if (!body) return;
      const reader = body.getReader();
      const stop = (): void => void reader.cancel().catch(() => undefined);
      signal?.addEventListener('abort', stop, { once: true });
      try {
        for (;;) {
          const next: { readonly done: boolean; readonly value?: Uint8Array } = await reported(() => reader.read());
          signal?.throwIfAborted();
          if (next.value === undefined) return;
          yield next.value;
        }
      } finally {
        signal?.removeEventListener('abort', stop);
        stop();
      }
    },
    draft: async () => staged(await staging.draft()),
    async resume(id) {
      const draft = await staging.resume(id);
      return draft && staged(draft);
    },
    drafts: () => staging.drafts(),
    discardDraft: (id) => staging.discardDraft(id),
    delete: (digest) =>
      reported(async () => {
        await (await client()).deleteObject(keyOf(digest));
      }),
    async *list() {
      let token: string | undefined;
      do {
        const page = await reported(async () => (await client()).listObjectsPaged('/', 'blobs/', 1000, token));
        for (const { Key, Size } of page?.objects ?? []) {
          const [, algorithm = '', hex = ''] = /blobs\/([^/]+)\/([^/]+)$/.exec(Key) ?? [];
          const { success, data: digest } = blobDigestSchema.safeParse(`${algorithm}:${hex}`);
          if (success) yield { digest, size: Size };
        }
        token = page?.nextContinuationToken;
      } while (token !== undefined);
    },
    redirect: (digest, seconds) =>
      reported(async () => (await client()).getPresignedUrl('GET', keyOf(digest), seconds)),
  };
}

function keyOf(digest: BlobDigest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

async function wholeOf(pieces: AsyncIterable<Uint8Array>, size: number): Promise<Buffer<ArrayBuffer>> {
  const whole = Buffer.alloc(size);
  let filled = 0;
  for await (const piece of pieces) {
    whole.set(piece, filled);
    filled += piece.length;
  }
  return whole;
}

/** The library's errors name the request; its signature is not in them, and neither are keys. */
async function reported<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BerthError || (error instanceof Error && error.name === 'AbortError')) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new BerthError('BLOB_STORE_UNREACHABLE', `The S3-compatible store for blobs failed: ${reason}.`, {
      cause: error,
    });
  }
}
