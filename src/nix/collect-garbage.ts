/** Deletes what no root needs: paths that are known to be dead, or all that Nix finds. */
import { readdir, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';
import type { StorePath } from './store.ts';
import { isStorePath, physicalStoreDirectory, storeDirectory } from './store.ts';

export interface Collected {
  /** What was, or with dryRun would be, deleted. */
  readonly paths: readonly StorePath[];
  /** What was freed on the disk, in bytes; null for a dry run. */
  readonly freedBytes: number | null;
}

export interface CollectOptions {
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  /** Called when Nix has read all roots: what is made or rooted from then on is safe from this collection. */
  readonly onRootsRead?: () => void;
}

/**
 * Has Nix find what is dead. It asks its database for each path by itself: on a store of 100,000 paths that takes more than a
 * minute.
 * @param options dryRun: deletes nothing, only tells
 * @throws BerthError CANCELLED, INTERNAL
 */
export async function collectGarbage(nix: NixProcess, options: CollectOptions = {}): Promise<Collected> {
  const result = await nix.run('nix-store', ['--gc', ...(options.dryRun ? ['--print-dead'] : [])], {
    ...(options.signal ? { signal: options.signal } : {}),
    // The same words from Nix 2.8 to 2.34.
    onStderrLine: (line) => {
      if (/^(deleting garbage|determining live|deleting unused|deleting ')/.test(line)) options.onRootsRead?.();
    },
  });
  if (result.code !== 0) {
    throw new BerthError('INTERNAL', `Collecting garbage failed: ${lastLine(result.stderr)}`);
  }
  // The dry run prints paths on stdout; a real one says "deleting '…'" on stderr and the sum on stdout.
  const paths = options.dryRun
    ? result.stdout
        .split('\n')
        .map((line) => line.trim())
        .filter(isStorePath)
    : deletedPaths(result.stderr);
  return { paths, freedBytes: options.dryRun ? null : freedBytes(`${result.stdout}\n${result.stderr}`) };
}

export interface DeletePathsOptions {
  readonly signal?: AbortSignal;
  /** Called after each batch with how many of the paths have had their turn. */
  readonly onBatch?: (done: number) => void;
}

export interface Deleted extends Collected {
  /** Whether Nix found one of them alive: it then leaves it, and the rest of its batch. */
  readonly spared: boolean;
}

/** How many paths one command names: about a fifth of a megabyte, of the two that arguments may take. */
const batch = 2000;

/**
 * Has Nix delete exactly these paths. It looks at the roots again for each batch, at what its running processes use, and at
 * what refers to a path, so that what has come into use meanwhile stays.
 * @param paths each after all that refer to it
 * @throws BerthError CANCELLED, INTERNAL
 */
export async function deletePaths(
  nix: NixProcess,
  paths: readonly StorePath[],
  options: DeletePathsOptions = {},
): Promise<Deleted> {
  const deleted: StorePath[] = [];
  let freed = 0;
  let spared = false;
  for (let start = 0; start < paths.length; start += batch) {
    const result = await nix.run('nix-store', ['--delete', ...paths.slice(start, start + batch)], {
      ...(options.signal ? { signal: options.signal } : {}),
    });
    // "Cannot delete path '…' since it is still alive", or "… because it's referenced by" in later versions.
    const isSpared = /still alive|cannot delete path/i.test(result.stderr);
    if (result.code !== 0 && !isSpared) {
      throw new BerthError('INTERNAL', `Deleting from the store failed: ${lastLine(result.stderr)}`);
    }
    spared ||= result.code !== 0;
    deleted.push(...deletedPaths(result.stderr));
    freed += freedBytes(`${result.stdout}\n${result.stderr}`);
    options.onBatch?.(Math.min(paths.length, start + batch));
  }
  return { paths: deleted, freedBytes: freed, spared };
}

/** How old something must be that is in the store's folder and is no valid path, to be what a crash has left. */
const leftoverMs = 24 * 3600_000;

/**
 * @param valid all valid paths
 * @returns names in the store's folder that are of no valid path and of no build that may be running
 */
export async function leftoversInStore(
  nix: Pick<NixProcess, 'store'>,
  valid: ReadonlySet<string>,
  now: number = Date.now(),
): Promise<string[]> {
  const folder = physicalStoreDirectory(nix.store);
  const found: string[] = [];
  for (const name of await readdir(folder)) {
    if (name === '.links' || valid.has(`${storeDirectory}/${name}`)) continue;
    const status = await lstat(join(folder, name)).catch(() => undefined);
    if (status && now - status.ctimeMs > leftoverMs) found.push(name);
  }
  return found;
}

function deletedPaths(stderr: string): StorePath[] {
  return stderr
    .split('\n')
    .map((line) => /^deleting '([^']+)'/.exec(line)?.[1] ?? '')
    .filter(isStorePath);
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/** @returns the bytes in Nix's `12 store paths deleted, 3.40 MiB freed` */
export function freedBytes(text: string): number {
  const match = /deleted, ([\d.]+) (B|KiB|MiB|GiB|TiB) freed/.exec(text);
  if (!match) return 0;
  const power = ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(match[2] ?? '');
  return Math.round(Number(match[1]) * 1024 ** power);
}
