/** Blobs on disk by digest, laid out as an OCI image layout has them: `blobs/sha256/HEX`. */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../core/digest.ts';
import { isErrno } from '../../core/files.ts';

/** @returns where a blob lies within a layout */
export function blobPath(digest: Digest): string {
  return join('blobs', 'sha256', digest.slice('sha256:'.length));
}

/** A blob under way: pieces are written, then it gets its name or is dropped. */
export interface BlobDraft {
  write(piece: Uint8Array): Promise<void>;
  /** Gives the blob its name, at which it appears whole. */
  commit(digest: Digest): Promise<void>;
  /** Removes what was written; nothing after a commit. */
  discard(): Promise<void>;
}

export interface BlobFolder {
  /** @returns the blob's size in bytes, or undefined when it is not there */
  size(digest: Digest): Promise<number | undefined>;
  read(digest: Digest): AsyncIterable<Uint8Array>;
  draft(): Promise<BlobDraft>;
}

const pieceSize = 1024 * 1024;

/** @param root the folder that holds `blobs` */
export function blobFolder(root: string): BlobFolder {
  return {
    async size(digest) {
      try {
        return (await stat(join(root, blobPath(digest)))).size;
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return undefined;
        throw error;
      }
    },
    read: (digest) =>
      createReadStream(join(root, blobPath(digest)), { highWaterMark: pieceSize }) as AsyncIterable<Buffer>,
    async draft() {
      const folder = join(root, 'blobs', 'sha256');
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `.draft-${randomBytes(8).toString('hex')}`);
      const file = await open(temporary, 'wx', 0o644);
      let closed = false;
      const close = async () => {
        if (!closed) await file.close();
        closed = true;
      };
      return {
        async write(piece) {
          await file.writeFile(piece);
        },
        async commit(digest) {
          await file.sync();
          await close();
          await rename(temporary, join(root, blobPath(digest)));
        },
        async discard() {
          await close();
          await rm(temporary, { force: true });
        },
      };
    },
  };
}
