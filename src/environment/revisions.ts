/** Revisions of sources that are in a lock for single packages: how they are named, and when they go. */
import type { Lock } from '../config/lock.ts';
import { digestOfJson } from '../core/digest.ts';
import type { LockedSource } from '../sources/source.ts';

/** The same revision always has the same name: `trixie-1a2b3c4d`. */
export function revisionName(locked: LockedSource): string {
  const suite = locked.pin['suite'];
  const digest = digestOfJson({ kind: locked.kind, pin: locked.pin }).slice('sha256:'.length);
  return `${typeof suite === 'string' ? suite : locked.kind}-${digest.slice(0, 8)}`;
}

/** Revisions that only packages have are named by revisionName. */
export function withoutUnused(lock: Lock): Lock {
  const used = new Set(Object.values(lock.packages ?? {}).map(({ pin }) => pin['source']));
  const isKept = ([name, locked]: [string, LockedSource]) => used.has(name) || name !== revisionName(locked);
  return { ...lock, sources: Object.fromEntries(Object.entries(lock.sources).filter(isKept)) };
}

/** Entries of packages that are of a source which gets another revision keep the one that they have. */
export function keepRevision(lock: Lock, source: string): Lock {
  const locked = lock.sources[source];
  const entries = Object.entries(lock.packages ?? {});
  if (!locked || !entries.some(([, { pin }]) => pin['source'] === source)) return lock;
  const name = revisionName(locked);
  const packages = Object.fromEntries(
    entries.map(([key, entry]) => [
      key,
      entry.pin['source'] === source ? { ...entry, pin: { ...entry.pin, source: name } } : entry,
    ]),
  );
  return { ...lock, sources: { ...lock.sources, [name]: locked }, packages };
}
