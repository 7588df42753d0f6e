/**
 * The downloads that all environments share: files by what they must hash to, each checked before it counts, and index
 * pages for a short time. A crash leaves a draft that nothing reads.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BerthError } from '../../core/errors.ts';
import { isErrno, writeFileAtomically } from '../../core/files.ts';
import { SingleFlight } from '../../core/single-flight.ts';
import { verifyModule } from '../go/module-hash.ts';
import { integrityPath, verifier } from '../integrity.ts';
import type { LockedArtifact } from '../library.ts';
import type { Upstream } from './upstream.ts';

/** An index page is asked for again after this time. */
const metadataMs = 10 * 60 * 1000;

export interface Download {
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** Whether it was there before. */
  readonly cached: boolean;
}

export interface DownloadCache {
  /**
   * @returns the artifact's file; downloaded when it is not there, once however many ask
   * @throws BerthError HASH_MISMATCH, REGISTRY_UNREACHABLE, LIBRARY_DOWNLOAD_FAILED, DISK_FULL, CANCELLED
   */
  artifact(artifact: LockedArtifact, signal?: AbortSignal): Promise<Download>;
  /** @returns an index page, as upstream answered it */
  metadata(url: string, signal?: AbortSignal): Promise<{ readonly status: number; readonly body: Uint8Array }>;
}

export function createDownloadCache(folder: string, upstream: Upstream): DownloadCache {
  const flights = new SingleFlight<string, Download>();
  const pages = new SingleFlight<string, { status: number; body: Uint8Array }>();

  async function download(artifact: LockedArtifact, file: string, signal: AbortSignal): Promise<Download> {
    const known = await stat(file).catch(() => undefined);
    if (known) {
      // The time of its last use, by which old ones are removed.
      await utimes(file, new Date(), new Date()).catch(() => undefined);
      return { file, size: known.size, cached: true };
    }
    await mkdir(dirname(file), { recursive: true });
    const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      const body = await upstream.open(artifact.url, artifact.label, signal);
      let size = 0;
      const check = artifact.integrity.algorithm === 'h1' ? undefined : verifier(artifact.integrity);
      await pipeline(
        Readable.fromWeb(body as never),
        async function* (pieces: AsyncIterable<Uint8Array>) {
          for await (const piece of pieces) {
            size += piece.length;
            check?.update(piece);
            yield piece;
          }
        },
        createWriteStream(draft, { flags: 'wx' }),
        { signal },
      );
      if (check) check.end(artifact.label, artifact.url);
      else await verifyModule(draft, artifact);
      await rename(draft, file);
      return { file, size, cached: false };
    } catch (error) {
      await rm(draft, { force: true });
      throw downloadError(error, artifact, signal);
    }
  }

  return {
    async artifact(artifact, signal) {
      const file = join(folder, integrityPath(artifact.integrity));
      const { value } = await flights.run(file, (shared) => download(artifact, file, shared), signal);
      return value;
    },
    async metadata(url, signal) {
      const file = join(folder, 'metadata', createHash('sha256').update(url).digest('hex'));
      const { value } = await pages.run(
        url,
        async (shared) => {
          const known = await stat(file).catch(() => undefined);
          if (known && Date.now() - known.mtimeMs < metadataMs) return { status: 200, body: await readFile(file) };
          try {
            const page = await upstream.page(url, shared);
            if (page.status === 200) await writeFileAtomically(file, page.body);
            return page;
          } catch (error) {
            // The registry is away: an older page is better than none, since what is installed is checked by hashes.
            if (known && !shared.aborted) return { status: 200, body: await readFile(file) };
            throw error;
          }
        },
        signal,
      );
      return value;
    },
  };
}

/** @returns the file's bytes */
export function readDownload({ file }: Download): Readable {
  return createReadStream(file, { highWaterMark: 256 * 1024 });
}

function downloadError(error: unknown, artifact: LockedArtifact, signal: AbortSignal): unknown {
  if (error instanceof BerthError) return error;
  if (signal.aborted) return new BerthError('CANCELLED', `The download of ${artifact.label} was cancelled.`);
  if (isErrno(error, 'ENOSPC')) return new BerthError('DISK_FULL', `The disk is full: ${artifact.label} was not kept.`);
  return new BerthError('REGISTRY_UNREACHABLE', `The download of ${artifact.label} broke off.`, {
    cause: error,
    details: { url: artifact.url },
  });
}
