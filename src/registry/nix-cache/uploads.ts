/**
 * Takes uploads of a Nix binary cache: a NAR, then the `.narinfo` that says what it is, which brings it into the store.
 * Nix itself checks the NAR against its hash and registers the path.
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import { KeyedMutex } from '../../core/keyed-mutex.ts';
import { parseNarinfo } from './narinfo.ts';

export interface UploadTarget {
  /** Copies one path, without what it refers to, from the binary cache in a folder into the store. */
  copyIn(cacheFolder: string, path: string, signal?: AbortSignal): Promise<void>;
  validPaths(paths: readonly string[]): Promise<readonly string[]>;
}

export interface Uploads {
  /** @param file the NAR's file name */
  putNar(file: string, body: ReadableStream<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** @returns whether a NAR of that name is here and waits for its narinfo */
  hasNar(file: string): Promise<boolean>;
  /** @throws BerthError REQUEST_INVALID when the NAR or something that the path refers to is not there */
  putNarinfo(hashPart: string, text: string, signal?: AbortSignal): Promise<void>;
}

/** A NAR whose narinfo did not come within this time belongs to an upload that was given up. */
const staleMs = 24 * 60 * 60 * 1000;

/** @param folder where NARs wait; one cache writes it */
export function createUploads(folder: string, target: UploadTarget): Uploads {
  const nars = join(folder, 'nar');
  const imports = new KeyedMutex<string>();
  let ready: Promise<void> | undefined;

  async function prepare(): Promise<void> {
    await mkdir(nars, { recursive: true });
    for (const name of await readdir(nars)) {
      const { mtimeMs } = await stat(join(nars, name));
      if (Date.now() - mtimeMs > staleMs) await rm(join(nars, name), { force: true });
    }
    await writeFile(join(folder, 'nix-cache-info'), 'StoreDir: /nix/store\n');
  }

  return {
    async putNar(file, body, signal) {
      await (ready ??= prepare());
      const draft = join(nars, `.${randomBytes(6).toString('hex')}`);
      try {
        await pipeline(Readable.fromWeb(body as never), createWriteStream(draft, { flags: 'wx', flush: true }), {
          ...(signal ? { signal } : {}),
        });
        await rename(draft, join(nars, file));
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    },
    async hasNar(file) {
      return (await stat(join(nars, file)).catch(() => undefined)) !== undefined;
    },
    async putNarinfo(hashPart, text, signal) {
      await (ready ??= prepare());
      const { path, narFile, references } = parseNarinfo(text, hashPart);
      await imports.run(path, async () => {
        if ((await target.validPaths([path])).length > 0) {
          await rm(join(nars, narFile), { force: true });
          return;
        }
        const others = references.filter((reference) => reference !== path);
        const valid = new Set(await target.validPaths(others));
        const missing = others.filter((reference) => !valid.has(reference));
        if (missing.length > 0) {
          throw new BerthError('REQUEST_INVALID', `${path} refers to ${missing.join(', ')}, which is not here yet.`, {
            hint: 'Upload what a path needs before the path, as `nix copy` does.',
          });
        }
        const narinfo = join(folder, `${hashPart}.narinfo`);
        try {
          await stat(join(nars, narFile));
        } catch (error) {
          if (!isErrno(error, 'ENOENT')) throw error;
          throw new BerthError('REQUEST_INVALID', `The NAR nar/${narFile} was not uploaded before its narinfo.`);
        }
        await writeFile(narinfo, text);
        try {
          await target.copyIn(folder, path, signal);
        } finally {
          await rm(narinfo, { force: true });
          await rm(join(nars, narFile), { force: true });
        }
      });
    },
  };
}
