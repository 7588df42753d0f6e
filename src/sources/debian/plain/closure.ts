/** Closures by Debian's dependency rules: what nix/debian/closure.nix does, for closures that have no fault. */
import type { PackageDerivation } from './package-derivations.ts';

export interface ClosureOptions {
  readonly get: (name: string) => PackageDerivation;
  readonly scriptsOnly: ReadonlySet<string>;
  readonly allowUnfree: boolean;
}

/**
 * @param names the packages that are asked for
 * @returns all members, sorted by name; undefined where one of them can't be used or two of them can't be together
 */
export function closureOfPackages(
  names: Iterable<string>,
  { get, scriptsOnly, allowUnfree }: ClosureOptions,
): PackageDerivation[] | undefined {
  const explicit = new Set(names);
  const isFree = (it: PackageDerivation) => allowUnfree || it.component === 'main';
  const isUsable = (name: string) => !get(name).broken && isFree(get(name));
  const pick = (group: readonly string[]) =>
    group.length === 1
      ? group[0]
      : (group.find((name) => explicit.has(name)) ?? group.find((name) => isUsable(name)) ?? group[0]);

  const members = new Map<string, PackageDerivation>();
  const pending = [...explicit];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (members.has(name)) continue;
    const member = get(name);
    if (member.broken || !isFree(member)) return undefined;
    members.set(name, member);
    for (const group of member.needs) {
      const needed = pick(group);
      if (needed === undefined) return undefined;
      if (!members.has(needed) && (!scriptsOnly.has(needed) || explicit.has(needed))) pending.push(needed);
    }
  }
  for (const { conflicts } of members.values()) if (conflicts.some((name) => members.has(name))) return undefined;
  return [...members.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
