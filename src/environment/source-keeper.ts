/**
 * Keeps locked revisions of sources in the store while a project uses them: an index that a mirror no longer has can't be
 * made again.
 */
import { readLock } from '../config/lock.ts';
import { digestOfJson } from '../core/digest.ts';
import type { Nix } from '../nix/nix.ts';
import type { StorePath } from '../nix/store.ts';
import type { LockedSource } from '../sources/source.ts';
import type { KeptSource, StorageRecords } from './storage-records.ts';

export interface SourceKeeper {
  /** @param lockFile the lock that uses it; undefined where it came with seeds */
  keep(source: KeptSource, lockFile: string | undefined): Promise<void>;
  /** @returns the revision of a kind that was used last, of those that are in the store */
  newest(kind: LockedSource['kind']): LockedSource | undefined;
}

/** @returns the name of the garbage-collection root of a source's path */
export function sourceRootOf(path: StorePath): string {
  return `source-${path.slice('/nix/store/'.length).split('-')[0] ?? ''}`;
}

/** @param exists whether a store path is there */
export function createSourceKeeper(
  nix: Pick<Nix, 'roots'>,
  records: StorageRecords,
  exists: (path: StorePath) => boolean,
): SourceKeeper {
  return {
    async keep(source, lockFile) {
      for (const path of source.storePaths) await nix.roots.add(sourceRootOf(path), path);
      records.saveSource(source, lockFile);
    },
    newest: (kind) => records.sources().find((it) => it.locked.kind === kind && it.storePaths.every(exists))?.locked,
  };
}

/** @returns whether a lock file that was told to use the source still does */
export function isLocked(source: LockedSource, lockFile: string): boolean {
  try {
    const wanted = digestOfJson(source);
    return Object.values(readLock(lockFile).sources).some((locked) => digestOfJson(locked) === wanted);
  } catch {
    // A lock that can't be read now may be good again later: what it named is kept.
    return true;
  }
}
