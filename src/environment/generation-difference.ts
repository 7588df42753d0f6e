/** What is different between two environments, for people: packages and how many variables. */
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';

export interface PackageVersion {
  readonly name: string;
  readonly version: string;
}

export interface GenerationDifference {
  readonly added: readonly PackageVersion[];
  readonly removed: readonly PackageVersion[];
  readonly updated: readonly { readonly name: string; readonly from: string; readonly to: string }[];
  /** How many variables were set, changed or taken away; null where the earlier ones are not known any more. */
  readonly variables: number | null;
}

type Variables = Readonly<Record<string, string>>;

/** What is compared of an environment. */
export interface Compared {
  readonly packages: EvaluatedConfig['packages'];
  readonly variables: Variables | undefined;
}

export function differenceOf(before: Compared, after: Compared): GenerationDifference {
  const old = versionsByName(before.packages);
  const now = versionsByName(after.packages);
  const versions = (packages: ReadonlyMap<string, string>, without: ReadonlyMap<string, string>) =>
    [...packages].filter(([name]) => !without.has(name)).map(([name, version]) => ({ name, version }));
  return {
    added: versions(now, old),
    removed: versions(old, now),
    updated: [...now].flatMap(([name, to]) => {
      const from = old.get(name);
      return from === undefined || from === to ? [] : [{ name, from, to }];
    }),
    variables: before.variables && after.variables ? changedVariables(before.variables, after.variables) : null,
  };
}

/** By name, sorted; a name that stands for several versions has them all. */
function versionsByName(packages: Compared['packages']): Map<string, string> {
  const versions = new Map<string, Set<string>>();
  for (const { name, version } of packages) versions.set(name, (versions.get(name) ?? new Set()).add(version));
  return new Map(
    [...versions].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, all]) => [name, [...all].sort().join(', ')]),
  );
}

function changedVariables(before: Variables, after: Variables): number {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => before[name] !== after[name]).length;
}

/** @returns `+ripgrep -jq node 18 → 20`, or an empty text where no package differs */
export function packageChanges({ added, removed, updated }: GenerationDifference): string {
  return [
    ...added.map(({ name }) => `+${name}`),
    ...removed.map(({ name }) => `-${name}`),
    ...updated.map(({ name, from, to }) => `${name} ${from} → ${to}`),
  ].join(' ');
}

/** @returns the same with the variables; never empty */
export function describeDifference(difference: GenerationDifference): string {
  const packages = packageChanges(difference);
  const { variables } = difference;
  // Nearly every change of packages changes some variable: told only where it is all that is known.
  if (packages !== '') return packages;
  return variables === null || variables === 0 ? 'no package differs' : `${variables} variables`;
}
