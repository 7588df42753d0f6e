/**
 * Cuts an index into shards so that an evaluation reads few of them. What most closures hold lies together, and so does
 * what has neighbouring names (`node-…`, `libav…`), since it is mostly needed together. A cut by a hash of the name made
 * the closure of ten packages (540 of them) read 540 files; this one about 130.
 */
import type { ResolvedPackage } from './resolve.ts';

/** So many packages are taken as what most closures hold. */
const popularPackages = 1536;
const popularShard = 96;
const otherShard = 48;

/**
 * @param packages sorted by name
 * @returns the packages in shards; the same packages always give the same shards
 */
export function cutIntoShards(packages: readonly ResolvedPackage[]): ResolvedPackage[][] {
  const weights = needWeights(packages);
  const weightOf = (entry: ResolvedPackage) => weights.get(entry.package.name) ?? 0;
  const byWeight = packages.toSorted((a, b) => weightOf(b) - weightOf(a) || (a.package.name < b.package.name ? -1 : 1));
  const popular = byWeight.slice(0, popularPackages);
  const isPopular = new Set(popular);
  const others = packages.filter((entry) => !isPopular.has(entry));
  return [...chunks(popular, popularShard), ...chunks(others, otherShard)];
}

/**
 * How much each package is needed: 1 for itself, and a part of the weight of each package that needs it, so that what is
 * deep in many closures counts although few need it directly. Whole numbers, so that every host rounds alike.
 */
function needWeights(packages: readonly ResolvedPackage[]): Map<string, number> {
  const scale = 1000;
  let weights = new Map(packages.map((entry) => [entry.package.name, scale]));
  for (let round = 0; round < 6; round += 1) {
    const next = new Map(packages.map((entry) => [entry.package.name, scale]));
    for (const { package: entry, groups } of packages) {
      const part = Math.floor((weights.get(entry.name) ?? 0) / 2);
      for (const [first] of groups) {
        if (first !== undefined) next.set(first, (next.get(first) ?? 0) + part);
      }
    }
    weights = next;
  }
  return weights;
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
