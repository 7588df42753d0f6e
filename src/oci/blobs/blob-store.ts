/**
 * The port for blobs: bytes that are named by their digest. What is opened by `read` can be read to its end, even when
 * the blob is deleted meanwhile. Adapters: a folder, S3; both run blob-store-contract.ts.
 */
import { z } from 'zod';
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';

/** Berth names what it makes in sha256; what others push may be named in sha512 too. */
export type BlobDigest = Digest | `sha512:${string}`;

export const blobDigestSchema = z.custom<BlobDigest>(
  (value) => typeof value === 'string' && /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(value),
  'is no digest in sha256 or sha512',
);

/** Part of a blob. */
export interface BlobRange {
  /** The first byte, from 0. */
  readonly start: number;
  /** How many bytes. */
  readonly length: number;
}

export interface BlobReadOptions {
  readonly range?: BlobRange;
  readonly signal?: AbortSignal;
}

/** A blob under way: pieces are written and hashed, then it gets its name or is dropped. */
export interface BlobDraft {
  /** By which `resume` finds it again, in this process or another. */
  readonly id: string;
  /** Bytes written so far. */
  readonly size: number;
  /** Pieces must be awaited one by one. */
  write(piece: Uint8Array): Promise<void>;
  /**
   * Names the blob by the digest of what was written, at which it appears whole; it is on the disk before this resolves.
   * @param expected refused with BLOB_CORRUPT when the bytes have another; the draft then stays
   * @returns its digest and size
   */
  commit<Name extends BlobDigest = Digest>(expected?: Name): Promise<{ readonly digest: Name; readonly size: number }>;
  /** @returns the digest of what was written so far */
  digest(): Digest;
  /** Puts it by, to be resumed later. */
  suspend(): Promise<void>;
  /** Removes what was written; nothing after a commit. */
  discard(): Promise<void>;
}

/** A draft that nobody may be writing any more. */
export interface LeftDraft {
  readonly id: string;
  readonly size: number;
  /** When it was last written to, in milliseconds since the epoch. */
  readonly writtenAt: number;
}

export interface BlobStore {
  /** @returns the blob's size in bytes, or undefined when it is not there */
  size(digest: BlobDigest): Promise<number | undefined>;
  /** @throws BerthError BLOB_MISSING, at the first piece, when it is not there */
  read(digest: BlobDigest, options?: BlobReadOptions): AsyncIterable<Uint8Array>;
  draft(): Promise<BlobDraft>;
  /** @returns the draft of that id as it was put by or left, or undefined when there is none. It is read once, to hash it. */
  resume(id: string): Promise<BlobDraft | undefined>;
  /** Drafts that are there, also those under way. */
  drafts(): AsyncIterable<LeftDraft>;
  /** Removes a draft that nobody has open; nothing when there is none. */
  discardDraft(id: string): Promise<void>;
  /** Nothing when it is not there. */
  delete(digest: BlobDigest): Promise<void>;
  /** All blobs, in no order. */
  list(): AsyncIterable<{ readonly digest: BlobDigest; readonly size: number }>;
  /** Where the blob lies as a file of this host, if it does: what sends it may then spare a copy. */
  file?(digest: BlobDigest): string;
  /** @returns a URL from which whoever has it may read the blob for some time, where the store can give one */
  redirect?(digest: BlobDigest, seconds: number): Promise<string>;
}

/**
 * Writes a stream as one blob.
 * @param expected refused with BLOB_CORRUPT when the stream has another digest
 */
export async function writeBlob<Name extends BlobDigest = Digest>(
  blobs: BlobStore,
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  expected?: Name,
): Promise<{ readonly digest: Name; readonly size: number }> {
  const draft = await blobs.draft();
  try {
    for await (const piece of stream) await draft.write(piece);
    return await draft.commit(expected);
  } finally {
    await draft.discard();
  }
}

/** @returns the error for a blob that is not in the store */
export function missingBlob(digest: BlobDigest, cause?: unknown): BerthError {
  return new BerthError('BLOB_MISSING', `The blob ${digest} is not there.`, cause === undefined ? {} : { cause });
}
