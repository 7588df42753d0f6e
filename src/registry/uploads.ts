/**
 * Uploads under way. Their bytes lie in a draft of the store of blobs and their repository in the database, so that they
 * outlive the process; what is in memory is an open file and its hash, which are made again when they are missing.
 */
import { KeyedMutex } from '../core/keyed-mutex.ts';
import type { BlobDigest, BlobDraft } from '../oci/blobs/blob-store.ts';
import type { KeptBlobs } from './disk/kept-blobs.ts';
import type { ManifestStore } from './manifest-store.ts';
import { Refusal } from './refusal.ts';

export interface Uploads {
  start(repository: string): Promise<string>;
  /** @returns how many bytes have arrived. @throws Refusal BLOB_UPLOAD_UNKNOWN */
  size(repository: string, id: string): Promise<number>;
  /**
   * Adds bytes at the end. A request that comes for an upload while another one is writing takes over from it, because
   * a client that lost its connection may know it before the server does.
   * @param check is given the size at which the bytes are to begin
   * @returns the size then
   */
  append(
    repository: string,
    id: string,
    body: AsyncIterable<Uint8Array>,
    check: (size: number) => void,
  ): Promise<number>;
  /** Names the blob. What does not have the digest is dropped. @returns its size */
  finish(repository: string, id: string, digest: BlobDigest): Promise<number>;
  cancel(repository: string, id: string): Promise<void>;
  /** Drops what nobody has continued for a long time, and closes files of what nobody continues now. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface UploadsOptions {
  readonly blobs: KeptBlobs;
  readonly manifests: ManifestStore;
  /** How long an upload may rest before it is dropped. */
  readonly keepMs: number;
  readonly now?: () => number;
}

interface OpenUpload {
  readonly draft: BlobDraft;
  usedAt: number;
  /** Ends the request that is writing now. */
  interrupt?: () => void;
}

/** How long an upload rests before its file is closed. */
const openMs = 60_000;

export function createUploads({ blobs, manifests, keepMs, now = Date.now }: UploadsOptions): Uploads {
  const open = new Map<string, OpenUpload>();
  const turns = new KeyedMutex<string>();

  const check = (repository: string, id: string): void => {
    if (manifests.upload(id)?.repository === repository) return;
    throw unknown(id);
  };
  const opened = async (id: string): Promise<OpenUpload> => {
    const known = open.get(id);
    if (known) {
      known.usedAt = now();
      return known;
    }
    const draft = await blobs.resume(id);
    if (!draft) {
      manifests.removeUpload(id);
      throw unknown(id);
    }
    const upload = { draft, usedAt: now() };
    open.set(id, upload);
    return upload;
  };
  const forget = (id: string): void => {
    open.delete(id);
    manifests.removeUpload(id);
  };
  const drop = async (id: string): Promise<void> => {
    const upload = open.get(id);
    forget(id);
    if (upload) await upload.draft.discard();
    else await blobs.discardDraft(id);
  };

  return {
    async start(repository) {
      const draft = await blobs.draft();
      manifests.addUpload(draft.id, repository);
      open.set(draft.id, { draft, usedAt: now() });
      return draft.id;
    },
    async size(repository, id) {
      check(repository, id);
      return turns.run(`open ${id}`, async () => (await opened(id)).draft.size);
    },
    async append(repository, id, body, checkSize) {
      check(repository, id);
      open.get(id)?.interrupt?.();
      return turns.run(id, async () => {
        check(repository, id);
        const upload = await turns.run(`open ${id}`, () => opened(id));
        checkSize(upload.draft.size);
        let interrupt = (): void => undefined;
        const interrupted = new Promise<never>((_, reject) => {
          interrupt = () => reject(new Refusal('BLOB_UPLOAD_INVALID', 'Another request continues this upload.'));
        });
        interrupted.catch(() => undefined);
        upload.interrupt = interrupt;
        try {
          await writeAll(upload, body, interrupted);
        } finally {
          if (upload.interrupt === interrupt) delete upload.interrupt;
          upload.usedAt = now();
        }
        return upload.draft.size;
      });
    },
    async finish(repository, id, digest) {
      check(repository, id);
      return turns.run(id, async () => {
        check(repository, id);
        const upload = await opened(id);
        try {
          const { size } = await upload.draft.commit(digest);
          manifests.addBlob(repository, digest);
          return size;
        } finally {
          await drop(id);
        }
      });
    },
    async cancel(repository, id) {
      check(repository, id);
      open.get(id)?.interrupt?.();
      await turns.run(id, () => drop(id));
    },
    async sweep() {
      for (const [id, upload] of [...open]) {
        if (upload.interrupt || now() - upload.usedAt < openMs) continue;
        await turns.run(id, async () => {
          if (open.get(id) !== upload || now() - upload.usedAt < openMs) return;
          open.delete(id);
          await upload.draft.suspend();
        });
      }
      const known = new Set(manifests.uploads().map(({ id }) => id));
      for await (const { id, writtenAt } of blobs.drafts()) {
        if (open.has(id) || now() - writtenAt < keepMs) continue;
        known.delete(id);
        await turns.run(id, () => drop(id));
      }
    },
    async close() {
      for (const { draft, interrupt } of open.values()) {
        interrupt?.();
        await draft.suspend();
      }
      open.clear();
    },
  };
}

/** Only waiting for the client is cut short, never a write: whoever takes over finds a draft that is still. */
async function writeAll(
  upload: OpenUpload,
  body: AsyncIterable<Uint8Array>,
  interrupted: Promise<never>,
): Promise<void> {
  const pieces = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await Promise.race([pieces.next(), interrupted]);
      if (next.done === true) return;
      await upload.draft.write(next.value);
      upload.usedAt = Date.now();
    }
  } finally {
    // Not awaited: a body whose client is silent would hold this up.
    void pieces.return?.().catch(() => undefined);
  }
}

function unknown(id: string): Refusal {
  return new Refusal('BLOB_UPLOAD_UNKNOWN', `There is no upload ${id} in this repository.`);
}
