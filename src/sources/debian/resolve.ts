/**
 * Resolves dependency fields within one suite. Every group becomes the ordered list of real packages that meet it, so
 * that the evaluation only picks; what can't be met, and who conflicts with whom, is worked out here too.
 *
 * Rules: Debian policy 7 (relations, virtual packages and versioned Provides), the multi-arch specification (an `:any`
 * dependency needs a package that is `Multi-Arch: allowed`), and apt's order of candidates: alternatives as written; for
 * each, the real package first, then providers by priority, then by name.
 */
import type { Paragraph } from './control.ts';
import { type Alternative, type DependencyGroup, formatAlternative, parseDependencies } from './dependency.ts';
import { compareVersions, versionSatisfies } from './version.ts';

/** A package of one suite, with its relations parsed. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly multiArch: string;
  readonly component: string;
  /** Which archive has the file: `main` or `security`. */
  readonly archive: string;
  readonly filename: string;
  readonly size: number;
  readonly sha256: string;
  readonly priority: string;
  readonly description: string;
  readonly depends: readonly DependencyGroup[];
  readonly conflicts: readonly Alternative[];
  readonly provides: readonly Alternative[];
}

/** What the evaluation needs to know of a package. */
export interface ResolvedPackage {
  readonly package: DebianPackage;
  /** Names of real packages, best first, for each group; no group twice, none that the package meets itself. */
  readonly groups: readonly (readonly string[])[];
  /** Groups that no package of the suite meets, as the control file says them. */
  readonly unmet: readonly string[];
  /** Real packages of the suite that must not be installed with it. */
  readonly conflicts: readonly string[];
}

/** The fields of a Packages file that are read. */
export const packageFields: ReadonlySet<string> = new Set([
  'package',
  'version',
  'architecture',
  'multi-arch',
  'filename',
  'size',
  'sha256',
  'priority',
  'description',
  'depends',
  'pre-depends',
  'conflicts',
  'breaks',
  'provides',
]);

/** @returns the package that a paragraph of a Packages file describes, or undefined when a needed field is missing */
export function packageOf(paragraph: Paragraph, component: string, archive: string): DebianPackage | undefined {
  const field = (name: string) => paragraph.get(name) ?? '';
  const name = field('package');
  const sha256 = field('sha256').toLowerCase();
  const filename = field('filename');
  if (!name || !field('version') || !filename || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  return {
    name,
    version: field('version'),
    architecture: field('architecture'),
    multiArch: field('multi-arch') || 'no',
    component,
    archive,
    filename,
    size: Number(field('size')),
    sha256,
    priority: field('priority'),
    description: field('description').split('\n', 1)[0] ?? '',
    depends: [...parseDependencies(field('pre-depends')), ...parseDependencies(field('depends'))],
    conflicts: [...parseDependencies(field('conflicts')), ...parseDependencies(field('breaks'))].flat(),
    provides: parseDependencies(field('provides')).flat(),
  };
}

/** Keeps the newest version of each name, as apt does among pockets of equal priority. */
export function newestVersions(packages: Iterable<DebianPackage>): Map<string, DebianPackage> {
  const newest = new Map<string, DebianPackage>();
  for (const candidate of packages) {
    const other = newest.get(candidate.name);
    if (!other || compareVersions(candidate.version, other.version) > 0) newest.set(candidate.name, candidate);
  }
  return newest;
}

/** @returns all packages resolved, sorted by name */
export function resolvePackages(packages: ReadonlyMap<string, DebianPackage>): ResolvedPackage[] {
  const suite: Suite = { packages, providers: providersOf(packages) };
  const known = new Map<string, readonly string[]>();
  return [...packages.values()]
    .sort((a, b) => compareText(a.name, b.name))
    .map((entry) => resolvePackage(entry, suite, known));
}

interface Suite {
  readonly packages: ReadonlyMap<string, DebianPackage>;
  /** Virtual name to who provides it, in order of preference. */
  readonly providers: ReadonlyMap<string, readonly { provider: DebianPackage; version: string | undefined }[]>;
}

function resolvePackage(entry: DebianPackage, suite: Suite, known: Map<string, readonly string[]>): ResolvedPackage {
  const groups: (readonly string[])[] = [];
  const unmet: string[] = [];
  const seen = new Set<string>();
  for (const group of entry.depends) {
    const candidates = candidatesOfGroup(group, suite, known);
    if (candidates.length === 0) {
      unmet.push(group.map(formatAlternative).join(' | '));
      continue;
    }
    const key = candidates.join('|');
    if (candidates.includes(entry.name) || seen.has(key)) continue;
    seen.add(key);
    groups.push(candidates);
  }
  return { package: entry, groups, unmet, conflicts: conflictsOf(entry, suite, known) };
}

function candidatesOfGroup(group: DependencyGroup, suite: Suite, known: Map<string, readonly string[]>): string[] {
  return [...new Set(group.flatMap((alternative) => candidatesOf(alternative, suite, known)))];
}

/** Real packages that meet one alternative; remembered, since most alternatives occur many times. */
function candidatesOf(
  alternative: Alternative,
  suite: Suite,
  known: Map<string, readonly string[]>,
): readonly string[] {
  const key = formatAlternative(alternative);
  const remembered = known.get(key);
  if (remembered) return remembered;
  const found: string[] = [];
  const real = suite.packages.get(alternative.name);
  if (real && meetsVersion(real.version, alternative) && meetsQualifier(real, alternative)) found.push(real.name);
  if (alternative.qualifier !== 'any') {
    for (const { provider, version } of suite.providers.get(alternative.name) ?? []) {
      // Policy 7.5: a relation with a version is met by a versioned Provides only.
      if (alternative.relation !== undefined && version === undefined) continue;
      if (version !== undefined && !meetsVersion(version, alternative)) continue;
      found.push(provider.name);
    }
  }
  known.set(key, found);
  return found;
}

function meetsVersion(version: string, { relation, version: bound }: Alternative): boolean {
  return relation === undefined || bound === undefined || versionSatisfies(version, relation, bound);
}

/** An index holds one architecture, so only `:any` asks for something that may not hold. */
function meetsQualifier(real: DebianPackage, { qualifier }: Alternative): boolean {
  if (qualifier === undefined || qualifier === 'native') return true;
  if (qualifier === 'any') return real.multiArch === 'allowed';
  return real.architecture === qualifier || real.architecture === 'all';
}

/** A package never conflicts with itself, also where it provides the name it conflicts with (policy 7.6.2). */
function conflictsOf(entry: DebianPackage, suite: Suite, known: Map<string, readonly string[]>): string[] {
  const names = new Set(entry.conflicts.flatMap((alternative) => candidatesOf(alternative, suite, known)));
  names.delete(entry.name);
  return [...names].sort(compareText);
}

const priorities = ['required', 'important', 'standard', 'optional', 'extra'];

function providersOf(packages: ReadonlyMap<string, DebianPackage>): Suite['providers'] {
  const providers = new Map<string, { provider: DebianPackage; version: string | undefined }[]>();
  for (const provider of packages.values()) {
    for (const { name, version } of provider.provides) {
      const list = providers.get(name);
      if (list) list.push({ provider, version });
      else providers.set(name, [{ provider, version }]);
    }
  }
  for (const list of providers.values()) {
    list.sort((a, b) => rank(a.provider) - rank(b.provider) || compareText(a.provider.name, b.provider.name));
  }
  return providers;
}

function rank(entry: DebianPackage): number {
  const index = priorities.indexOf(entry.priority);
  // Packages outside main are never the better choice for a dependency that one in main meets.
  return (index === -1 ? priorities.length : index) + (entry.component === 'main' ? 0 : 10);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
