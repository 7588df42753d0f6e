/** Which revisions of nixpkgs to take for packages in certain versions, by the version index. */
import type { LockedSource, PackageVersion, VersionsElsewhere, VersionWanted } from '../source.ts';
import { fewestRevisions, type Interval } from '../versions/fewest-revisions.ts';
import type { VersionIndex } from '../versions/version-index.ts';
import { newestFirst } from '../versions/version-query.ts';

type Revision = VersionIndex['revisions'][number];

/**
 * @param wanted packages; of each the newest version that fits counts
 * @param known revisions that are locked already
 * @param lock brings a revision in
 * @returns the fewest revisions that have all of them, then all else that the index knows of the packages
 */
export function revisionsWith(
  index: VersionIndex,
  wanted: readonly VersionWanted[],
  known: readonly LockedSource[],
  lock: (revision: Revision) => Promise<LockedSource>,
): VersionsElsewhere[] {
  const intervals = wanted.map((one) => newestFitting(index, one)).filter((it) => it !== undefined);
  const numbers = known.flatMap(({ pin }) => {
    const number = index.revisions.findIndex(({ rev }) => rev === pin['rev']);
    return number === -1 ? [] : [number];
  });
  const chosen = [...new Set(fewestRevisions(intervals, numbers))];
  const locking = new Map<number, Promise<LockedSource>>();
  const locked = (number: number): Promise<LockedSource> => {
    const revision = index.revisions[number];
    if (!revision) throw new RangeError(`The index has no revision ${number}.`);
    const work = locking.get(number) ?? lock(revision);
    locking.set(number, work);
    return work;
  };
  const named = chosen.map((number) => ({
    label: labelOf(index.revisions[number]),
    versions: (name: string) => Promise.resolve(versionsOf(index, name, number)),
    lock: () => locked(number),
  }));
  // Each by itself: what was not asked for is only told.
  const others = wanted.flatMap(({ name }) =>
    Object.entries(index.packages[name] ?? {}).flatMap(([version, { revisions }]) => {
      const number = latest(revisions)[1];
      if (chosen.includes(number)) return [];
      return {
        label: labelOf(index.revisions[number]),
        versions: (asked: string) =>
          Promise.resolve(versionsOf(index, asked, number).filter((it) => asked === name && it.version === version)),
        lock: () => locked(number),
      };
    }),
  );
  return [...named, ...others];
}

/** The revisions of the newest version that fits; of one that went and came back, the latest. */
function newestFitting(index: VersionIndex, { name, matches }: VersionWanted): Interval | undefined {
  const [newest] = Object.keys(index.packages[name] ?? {})
    .filter((version) => matches(version, version))
    .sort(newestFirst);
  const entry = newest === undefined ? undefined : index.packages[name]?.[newest];
  return entry && latest(entry.revisions);
}

function latest(intervals: readonly Interval[]): Interval {
  return [...intervals].sort((a, b) => b[1] - a[1])[0] ?? [0, 0];
}

function versionsOf(index: VersionIndex, name: string, number: number): PackageVersion[] {
  return Object.entries(index.packages[name] ?? {})
    .filter(([, { revisions }]) => revisions.some(([first, last]) => first <= number && number <= last))
    .map(([version, { storePaths }]) => ({ name, version, upstream: version, ...(storePaths ? { storePaths } : {}) }));
}

function labelOf(revision: Revision | undefined): string {
  if (!revision) return 'nixpkgs';
  return `nixpkgs ${revision.rev.slice(0, 7)}${revision.date === undefined ? '' : ` (${revision.date})`}`;
}
