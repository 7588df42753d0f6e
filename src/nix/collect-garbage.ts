/** Deletes what no root needs. */
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';
import type { StorePath } from './store.ts';
import { isStorePath } from './store.ts';

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
    throw new BerthError('INTERNAL', `Collecting garbage failed: ${result.stderr.trim().split('\n').at(-1) ?? ''}`);
  }
  // The dry run prints paths on stdout; a real one says "deleting '…'" on stderr and the sum on stdout.
  const text = options.dryRun ? result.stdout : result.stderr;
  const paths = text
    .split('\n')
    .map((line) => (options.dryRun ? line.trim() : (/^deleting '([^']+)'/.exec(line)?.[1] ?? '')))
    .filter(isStorePath);
  return { paths, freedBytes: options.dryRun ? null : freedBytes(`${result.stdout}\n${result.stderr}`) };
}

/** @returns the bytes in Nix's `12 store paths deleted, 3.40 MiB freed` */
export function freedBytes(text: string): number {
  const match = /deleted, ([\d.]+) (B|KiB|MiB|GiB|TiB) freed/.exec(text);
  if (!match) return 0;
  const power = ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(match[2] ?? '');
  return Math.round(Number(match[1]) * 1024 ** power);
}
