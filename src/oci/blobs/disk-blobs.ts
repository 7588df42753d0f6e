/** Blobs in a folder, laid out as an OCI image layout has them: `blobs/sha256/HEX`. Drafts lie beside them. */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, opendir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import { type BlobDigest, blobDigestSchema, type BlobDraft, type BlobStore, missingBlob } from './blob-store.ts';

/** @returns where a blob lies within a layout */
export function blobPath(digest: BlobDigest): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join('blobs', algorithm, hex);
}

const pieceSize = 1024 * 1024;
const draftPrefix = '.draft-';
const draftId = /^[0-9a-f]{32}$/;

/** @param root the folder that holds `blobs` */
export function diskBlobs(root: string): BlobStore & Required<Pick<BlobStore, 'file'>> {
  const folder = join(root, 'blobs', 'sha256');
  const fileOf = (digest: BlobDigest) => join(root, blobPath(digest));
  const draftFile = (id: string) => join(folder, draftPrefix + id);

  return {
    size: async (digest) => (await statIfThere(fileOf(digest)))?.size,
    async *read(digest, { range, signal } = {}) {
      try {
        const part = range ? { start: range.start, end: range.start + range.length - 1 } : {};
        if (range?.length === 0) return;
        yield* createReadStream(fileOf(digest), { highWaterMark: pieceSize, ...part, ...(signal ? { signal } : {}) });
      } catch (error) {
        if (isErrno(error, 'ENOENT')) throw missingBlob(digest, error);
        throw error;
      }
    },
    async draft() {
      await mkdir(folder, { recursive: true });
      const id = randomBytes(16).toString('hex');
      const file = await open(draftFile(id), 'wx', 0o644);
      return openDraft({ id, file, path: draftFile(id), hash: createHash('sha256'), size: 0, fileOf });
    },
    async resume(id) {
      if (!draftId.test(id)) return undefined;
      const path = draftFile(id);
      try {
        const file = await open(path, 'r+');
        const hash = createHash('sha256');
        let size = 0;
        for await (const piece of createReadStream(path, { highWaterMark: pieceSize })) {
          hash.update(piece as Buffer);
          size += (piece as Buffer).length;
        }
        return openDraft({ id, file, path, hash, size, fileOf });
      } catch (error) {
        if (isErrno(error, 'ENOENT')) return undefined;
        throw error;
      }
    },
    async *drafts() {
      for await (const name of namesIn(folder)) {
        if (!name.startsWith(draftPrefix)) continue;
        const found = await statIfThere(join(folder, name));
        if (found) yield { id: name.slice(draftPrefix.length), size: found.size, writtenAt: found.mtimeMs };
      }
    },
    async discardDraft(id) {
      if (draftId.test(id)) await rm(draftFile(id), { force: true });
    },
    delete: (digest) => rm(fileOf(digest), { force: true }),
    async *list() {
      for (const algorithm of ['sha256', 'sha512']) {
        for await (const name of namesIn(join(root, 'blobs', algorithm))) {
          const { success, data: digest } = blobDigestSchema.safeParse(`${algorithm}:${name}`);
          const found = success ? await statIfThere(fileOf(digest)) : undefined;
          if (success && found) yield { digest, size: found.size };
        }
      }
    },
    file: fileOf,
  };
}

interface OpenDraft {
  readonly id: string;
  readonly file: FileHandle;
  readonly path: string;
  readonly hash: Hash;
  readonly size: number;
  readonly fileOf: (digest: BlobDigest) => string;
}

function openDraft({ id, file, path, hash, size: found, fileOf }: OpenDraft): BlobDraft {
  let size = found;
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await file.close();
  };
  let committed = false;
  const digest = (): Digest => `sha256:${hash.copy().digest('hex')}`;
  return {
    id,
    get size() {
      return size;
    },
    async write(piece) {
      let written = 0;
      // Written where the hash stands, so that a piece that failed half-way is overwritten and not counted.
      while (written < piece.length) {
        written += (await file.write(piece, written, piece.length - written, size + written)).bytesWritten;
      }
      hash.update(piece);
      size += piece.length;
    },
    digest,
    async commit<Name extends BlobDigest = Digest>(expected?: Name) {
      await file.truncate(size);
      const found = expected?.startsWith('sha512:') ? await sha512Of(path) : digest();
      if (expected !== undefined && found !== expected) {
        throw new BerthError('BLOB_CORRUPT', `The bytes that came for ${expected} have the digest ${found}.`);
      }
      await file.sync();
      await close();
      const target = fileOf(found);
      await mkdir(dirname(target), { recursive: true });
      await rename(path, target);
      await syncFolder(dirname(target));
      committed = true;
      return { digest: found as Name, size };
    },
    async suspend() {
      await close();
    },
    async discard() {
      await close();
      if (!committed) await rm(path, { force: true });
    },
  };
}

/** Which algorithm an upload is named in is told at its end, so that this one, being rare, reads it once more. */
async function sha512Of(path: string): Promise<BlobDigest> {
  const hash = createHash('sha512');
  for await (const piece of createReadStream(path, { highWaterMark: pieceSize })) hash.update(piece as Buffer);
  return `sha512:${hash.digest('hex')}`;
}

/** A rename is on the disk only when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function statIfThere(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function* namesIn(folder: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(folder)) yield name;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
