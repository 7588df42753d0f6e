/**
 * Moves seeds between machines: as one archive, or by a binary cache. An archive is a tar of a binary cache (compressed
 * path by path, so that it is written and read as a stream) with a list of seeds; the same list lies in a cache that seeds
 * were pushed to. Whoever takes them checks every path's hash, and that a trusted key signed it unless told not to.
 */
import { lstat, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { z } from 'zod';
import { digestOfJson } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { exec } from '../core/exec.ts';
import { isErrno, readTextIfThere } from '../core/files.ts';
import type { Nix } from '../nix/nix.ts';
import type { StorePath } from '../nix/store.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import { inPhase } from './prepare.ts';
import type { Seeds } from './seeds.ts';
import type { WorkContext } from './service.ts';
import type { SeedMoveRequest, SeedsMoved } from './storage.ts';
import { keptSourceSchema, seedRecordSchema, type SeedRecord, type StorageRecords } from './storage-records.ts';
import type { SourceKeeper } from './source-keeper.ts';

const listName = 'berth-seeds.json';
const format = 1;

const listSchema = z.object({
  format: z.literal(format),
  seeds: z.array(seedRecordSchema),
  sources: z.array(keptSourceSchema),
});
type SeedList = z.infer<typeof listSchema>;

export interface SeedTransferOptions {
  readonly nix: Nix;
  readonly seeds: Seeds;
  readonly records: StorageRecords;
  readonly sources: SourceKeeper;
  readonly guard: GarbageGuard;
  /** For temporary files, on the disk of the state. */
  readonly directory: string;
  /** PATH with tar. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface SeedTransfer {
  export(file: string, request: SeedMoveRequest, context: WorkContext): Promise<SeedsMoved>;
  import(file: string, request: { readonly trust?: boolean }, context: WorkContext): Promise<SeedsMoved>;
  push(place: string, request: SeedMoveRequest, context: WorkContext): Promise<SeedsMoved>;
  pull(place: string, request: { readonly trust?: boolean }, context: WorkContext): Promise<SeedsMoved>;
}

export function createSeedTransfer(options: SeedTransferOptions): SeedTransfer {
  const { nix, seeds, records } = options;

  /** The list of seeds, with the revisions of sources that they were made from, as far as the store has them. */
  function listOf(chosen: readonly SeedRecord[]): SeedList {
    const wanted = new Set<string>(chosen.flatMap((seed) => Object.values(seed.sources).map((it) => digestOfJson(it))));
    const sources = records.sources().filter(({ locked }) => wanted.has(digestOfJson(locked)));
    return {
      format,
      seeds: [...chosen],
      sources: sources.map(({ locked, storePaths }) => ({ locked, storePaths: [...storePaths] })),
    };
  }

  async function moved(list: SeedList, place: string, bytes: number | null): Promise<SeedsMoved> {
    const closure = await nix.closureOf(rootsOf(list));
    return {
      names: list.seeds.map((seed) => seed.name),
      closure: { paths: closure.paths.length, bytes: closure.bytes },
      bytes,
      place,
    };
  }

  async function write(cache: URL, list: SeedList, { keyFile }: SeedMoveRequest, context: WorkContext): Promise<void> {
    const target = new URL(cache);
    target.searchParams.set('compression', 'zstd');
    target.searchParams.set('parallel-compression', 'true');
    if (keyFile !== undefined) target.searchParams.set('secret-key', keyFile);
    await inPhase('copy', context.emit, () => nix.copyToCache(target.href, rootsOf(list), context));
  }

  async function take(cache: URL, text: string, trust: boolean, context: WorkContext): Promise<SeedList> {
    const list = parseList(text, cache.href);
    const hold = options.guard.hold();
    try {
      // What is copied has no root before the end.
      await hold.begin(context.signal);
      await inPhase('copy', context.emit, () =>
        nix.copyFromCache(cache.href, rootsOf(list), { ...context, trust: trust ? 'all' : 'signed' }),
      );
      for (const source of list.sources) await options.sources.keep(source, undefined);
      for (const seed of list.seeds) await seeds.keep(seed);
    } finally {
      hold.end();
    }
    return list;
  }

  async function inTemporary<T>(work: (folder: string) => Promise<T>): Promise<T> {
    await mkdir(options.directory, { recursive: true });
    const folder = await mkdtemp(join(options.directory, 'seeds-'));
    try {
      return await work(folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async function tar(args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const result = await exec('tar', args, { env: options.environment, ...(signal ? { signal } : {}) });
    if (result.code === 0) return;
    if (/No space left on device/.test(result.stderr)) throw new BerthError('DISK_FULL', 'The disk is full.');
    throw new BerthError('SEED_ARCHIVE_INVALID', `tar failed: ${result.stderr.trim().split('\n')[0] ?? ''}`);
  }

  return {
    async export(file, request, context) {
      const chosen = seeds.select(request.names);
      if (chosen.length === 0) throw new BerthError('SEED_UNKNOWN', 'There are no seeds to write.');
      const list = listOf(chosen);
      return inTemporary(async (folder) => {
        await write(pathToFileURL(folder), list, request, context);
        await writeFile(join(folder, listName), JSON.stringify(list));
        // Beside its place, so that the last step is a rename; the list first, so that it can be read from a stream.
        const temporary = join(dirname(file), `.${basename(file)}.part`);
        try {
          await tar(['--create', '--file', temporary, '--directory', folder, listName, '.'], context.signal);
          await rename(temporary, file);
        } catch (error) {
          await rm(temporary, { force: true });
          throw isErrno(error, 'ENOENT', 'EACCES', 'ENOTDIR')
            ? new BerthError('REQUEST_INVALID', `${file} can't be written.`, { cause: error })
            : error;
        }
        return moved(list, file, (await stat(file)).size);
      });
    },
    async import(file, { trust = false }, context) {
      const status = await stat(file).catch(() => undefined);
      if (!status?.isFile()) throw new BerthError('SEED_ARCHIVE_INVALID', `There is no archive ${file}.`);
      return inTemporary(async (folder) => {
        await tar(
          ['--extract', '--file', file, '--directory', folder, '--no-same-owner', '--no-same-permissions'],
          context.signal,
        );
        await checkFiles(folder);
        const text = await readTextIfThere(join(folder, listName));
        if (text === undefined) {
          throw new BerthError('SEED_ARCHIVE_INVALID', `${file} is no archive of seeds: it has no ${listName}.`);
        }
        return moved(await take(pathToFileURL(folder), text, trust, context), file, status.size);
      });
    },
    async push(place, request, context) {
      const cache = cacheUrl(place);
      const chosen = seeds.select(request.names);
      if (chosen.length === 0) throw new BerthError('SEED_UNKNOWN', 'There are no seeds to push.');
      const list = listOf(chosen);
      await write(cache, list, request, context);
      // What others have pushed stays listed.
      const known = await readList(cache, context.signal);
      const all = known === undefined ? list : merge(parseList(known, cache.href), list);
      await writeList(cache, JSON.stringify(all), context.signal);
      return moved(list, shown(cache), null);
    },
    async pull(place, { trust = false }, context) {
      const cache = cacheUrl(place);
      const text = await readList(cache, context.signal);
      if (text === undefined) {
        throw new BerthError('SEED_ARCHIVE_INVALID', `${shown(cache)} has no list of seeds (${listName}).`);
      }
      return moved(await take(cache, text, trust, context), shown(cache), null);
    },
  };
}

function rootsOf(list: SeedList): StorePath[] {
  return [...new Set([...list.seeds.map((seed) => seed.storePath), ...list.sources.flatMap((it) => it.storePaths)])];
}

function merge(before: SeedList, now: SeedList): SeedList {
  const names = new Set(now.seeds.map((seed) => seed.name));
  const locked = new Set<string>(now.sources.map((source) => digestOfJson(source.locked)));
  return {
    format,
    seeds: [...before.seeds.filter((seed) => !names.has(seed.name)), ...now.seeds],
    sources: [...before.sources.filter((source) => !locked.has(digestOfJson(source.locked))), ...now.sources],
  };
}

function parseList(text: string, place: string): SeedList {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new BerthError('SEED_ARCHIVE_INVALID', `The list of seeds in ${place} is not JSON.`, { cause: error });
  }
  const parsed = listSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues[0]?.path.join('.') ?? '';
  throw new BerthError('SEED_ARCHIVE_INVALID', `The list of seeds in ${place} is not valid at ${where || 'its top'}.`, {
    cause: parsed.error,
  });
}

/** An archive comes from outside: nothing in it but files and folders is looked at, least of all through a link. */
async function checkFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    const status = await lstat(join(folder, name));
    if (!status.isFile() && !status.isDirectory()) {
      throw new BerthError('SEED_ARCHIVE_INVALID', `The archive has \`${name}\`, which is no file.`);
    }
  }
}

/** @param place an absolute folder, or a URL of one of the kinds that Nix copies to */
function cacheUrl(place: string): URL {
  if (place.startsWith('/')) return pathToFileURL(place);
  const url = URL.canParse(place) ? new URL(place) : undefined;
  if (url && ['http:', 'https:', 'file:'].includes(url.protocol)) return url;
  throw new BerthError('REQUEST_INVALID', `${place} is neither a folder nor a file, http or https URL.`);
}

/** @returns the URL as people may see it: without a password */
function shown(cache: URL): string {
  if (cache.protocol === 'file:') return fileURLToPath(cache);
  const url = new URL(cache);
  url.username = '';
  url.password = '';
  url.search = '';
  return url.href;
}

function listUrl(cache: URL): URL {
  const url = new URL(cache);
  url.search = '';
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${listName}`;
  return url;
}

async function readList(cache: URL, signal: AbortSignal | undefined): Promise<string | undefined> {
  const url = listUrl(cache);
  if (url.protocol === 'file:') return readTextIfThere(fileURLToPath(url));
  const response = await ask(url, { ...(signal ? { signal } : {}) });
  if (response.status === 404) return undefined;
  if (!response.ok) {
    throw new BerthError('MIRROR_UNREACHABLE', `${shown(cache)} answered with status ${response.status}.`);
  }
  return response.text();
}

async function writeList(cache: URL, text: string, signal: AbortSignal | undefined): Promise<void> {
  const url = listUrl(cache);
  if (url.protocol === 'file:') {
    const file = fileURLToPath(url);
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
    return;
  }
  const response = await ask(url, { method: 'PUT', body: text, ...(signal ? { signal } : {}) });
  if (!response.ok) {
    throw new BerthError('MIRROR_UNREACHABLE', `${shown(cache)} did not take the list: status ${response.status}.`);
  }
}

async function ask(url: URL, init: RequestInit): Promise<Response> {
  const plain = new URL(url);
  const { username, password } = plain;
  plain.username = '';
  plain.password = '';
  const headers =
    username === ''
      ? {}
      : { authorization: `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}` };
  try {
    return await fetch(plain, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw new BerthError('CANCELLED', 'The work was cancelled.', { cause: error });
    throw new BerthError('MIRROR_UNREACHABLE', `${plain.host} could not be reached.`, { cause: error });
  }
}
