/** Downloads from a Debian mirror, kept by their SHA-256 so that nothing is fetched twice. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Emit } from '../../core/events.ts';
import { BerthError } from '../../core/errors.ts';
import { isErrno, writeFileAtomically } from '../../core/files.ts';

export interface Downloads {
  /**
   * @param urls the same file at several mirrors, tried in order
   * @returns the file's bytes, or undefined when all mirrors say that there is no such file
   * @throws BerthError MIRROR_UNREACHABLE when no mirror answers
   */
  get(urls: readonly string[]): Promise<{ readonly url: string; readonly bytes: Buffer } | undefined>;
  /**
   * @returns the bytes with this SHA-256: those kept before, or downloaded from the first mirror that has them
   * @throws BerthError MIRROR_UNREACHABLE, HASH_MISMATCH, DISK_FULL
   */
  getByHash(urls: readonly string[], sha256: string): Promise<Buffer>;
}

export interface DownloadOptions {
  /** The folder where downloads are kept. */
  readonly folder: string;
  readonly emit: Emit;
  readonly signal?: AbortSignal;
  /** Milliseconds without a byte until a mirror counts as unreachable. */
  readonly idleMs?: number;
}

const defaultIdleMs = 30_000;

/** @returns downloads of one piece of work */
export function createDownloads(options: DownloadOptions): Downloads {
  return {
    get: async (urls) => {
      let missing = false;
      let failure: unknown;
      for (const url of urls) {
        try {
          const bytes = await fetchBytes(url, options);
          if (bytes) return { url, bytes };
          missing = true;
        } catch (error) {
          options.signal?.throwIfAborted();
          failure = error;
        }
      }
      if (missing) return undefined;
      throw unreachable(urls, failure);
    },
    getByHash: async (urls, sha256) => {
      const kept = join(options.folder, sha256);
      const cached = await readIfThere(kept);
      if (cached && sha256Of(cached) === sha256) return cached;
      const bytes = await downloadByHash(urls, sha256, options);
      try {
        await writeFileAtomically(kept, bytes);
      } catch (error) {
        throw diskErrorOf(error, options.folder);
      }
      return bytes;
    },
  };
}

/** @returns a DISK_FULL error when the disk or the quota is what failed, else the error itself */
export function diskErrorOf(error: unknown, folder: string): unknown {
  if (!isErrno(error, 'ENOSPC', 'EDQUOT')) return error;
  return new BerthError('DISK_FULL', `There is no space left on the disk of ${folder}.`, { cause: error });
}

async function downloadByHash(urls: readonly string[], sha256: string, options: DownloadOptions): Promise<Buffer> {
  let wrong: string | undefined;
  let missing: string | undefined;
  let failure: unknown;
  for (const url of urls) {
    try {
      const bytes = await fetchBytes(url, options);
      if (bytes && sha256Of(bytes) === sha256) return bytes;
      if (bytes) wrong = url;
      else missing = url;
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = error;
    }
  }
  if (wrong !== undefined) {
    throw new BerthError('HASH_MISMATCH', `${wrong} does not have the SHA-256 ${sha256} that is signed for it.`, {
      hint: 'Run `berth lock --update debian`, or set a snapshot mirror that keeps old releases; if the lock is new, the mirror is being updated: try again in some minutes.',
    });
  }
  if (missing !== undefined) {
    throw new BerthError('HASH_MISMATCH', `${missing} is not there any more.`, {
      hint: 'Run `berth lock --update debian`, or set a snapshot mirror that keeps old releases.',
    });
  }
  throw unreachable(urls, failure);
}

/** @returns the bytes, or undefined where the server says 404 or 410 */
async function fetchBytes(url: string, options: DownloadOptions): Promise<Buffer | undefined> {
  const idle = new AbortController();
  const idleMs = options.idleMs ?? defaultIdleMs;
  const timer = setTimeout(() => idle.abort(), idleMs);
  try {
    const signal = options.signal ? AbortSignal.any([options.signal, idle.signal]) : idle.signal;
    const response = await fetch(url, { signal });
    if (response.status === 404 || response.status === 410) {
      await response.body?.cancel();
      return undefined;
    }
    if (!response.ok || !response.body) {
      await response.body?.cancel();
      throw new BerthError('MIRROR_UNREACHABLE', `${url} answered with status ${response.status}.`);
    }
    const length = Number(response.headers.get('content-length') ?? Number.NaN);
    const chunks: Uint8Array[] = [];
    let done = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      timer.refresh();
      chunks.push(chunk);
      done += chunk.length;
      options.emit({
        type: 'progress',
        phase: 'lock',
        unit: 'bytes',
        done,
        ...(Number.isNaN(length) ? {} : { total: length }),
        label: url,
      });
    }
    return Buffer.concat(chunks);
  } finally {
    clearTimeout(timer);
  }
}

function unreachable(urls: readonly string[], cause: unknown): BerthError {
  const reason = cause instanceof BerthError ? ` ${cause.message}` : '';
  return new BerthError('MIRROR_UNREACHABLE', `No Debian mirror gave ${urls.join(' or ')}.${reason}`, { cause });
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
