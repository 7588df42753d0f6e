/**
 * Packages of versions that a config names (`at "nodejs" "18"`): resolved when first asked for, written to berth.lock, and
 * the same until `berth lock --update nodejs`. The default source is asked first, then what it calls elsewhere, such as
 * Debian's other suites; of all that elsewhere has, the newest fits best.
 */
import type { ConfigFile } from '../config/config-file.ts';
import { lockedPackageKey, type Lock, type LockedPackage } from '../config/lock.ts';
import { BerthError } from '../core/errors.ts';
import type {
  LockedSource,
  PackageMatch,
  PackageVersion,
  Source,
  SourceContext,
  VersionsElsewhere,
} from '../sources/source.ts';
import { nearestVersions, newestFirst, versionQuery, type VersionQuery } from '../sources/versions/version-query.ts';
import type { ResolveOutside } from './outside-packages.ts';
import { revisionName, withoutUnused } from './revisions.ts';
import { defaultSourceName, type SourceLocks } from './source-locks.ts';

/** What a config asks for. */
export type WantedPackage = Pick<LockedPackage, 'kind' | 'name' | 'wanted'>;

/** A package with the revision that it is of, where that is not the default source's. */
export interface ResolvedPackage {
  readonly locked: LockedPackage;
  readonly source?: { readonly name: string; readonly locked: LockedSource };
}

export interface PackageLocksOptions {
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  readonly locks: SourceLocks;
  /** For kinds other than `at`. */
  readonly outside?: ResolveOutside;
  /** Whether a store path is there. */
  readonly isThere?: (path: string) => Promise<boolean>;
}

export interface PackageLocks {
  /**
   * Resolves packages and locks them; those that are locked stay as they are.
   * @throws BerthError VERSION_UNKNOWN, VERSION_INVALID, UNKNOWN_PACKAGE
   */
  lock(config: ConfigFile, wanted: readonly WantedPackage[], context: SourceContext): Promise<void>;
  /**
   * Makes what the lock says was built here, and the store has not: on another machine, or after a collection.
   * @throws BerthError HASH_MISMATCH when the registry now has something else of that version
   */
  ensure(config: ConfigFile, context: SourceContext): Promise<void>;
  /**
   * Resolves locked packages anew.
   * @param names of packages (`nodejs`) or entries (`nodejs@18`); none for all
   * @returns the entries whose version or revision has changed
   */
  update(config: ConfigFile, names: readonly string[], context: SourceContext): Promise<string[]>;
  /** @returns what the package is for a default source, without locking it anywhere */
  resolve(from: LockedSource, wanted: readonly WantedPackage[], context: SourceContext): Promise<ResolvedPackage[]>;
  /** @returns all versions that fit, newest first, the default source's before others */
  search(
    config: ConfigFile | undefined,
    name: string,
    wanted: string,
    limit: number,
    context: SourceContext,
  ): Promise<PackageMatch[]>;
}

/** @returns name and version of `nodejs@18`; undefined for a name without a version */
export function splitVersion(text: string): { name: string; wanted: string } | undefined {
  const at = text.indexOf('@', 1);
  return at === -1 ? undefined : { name: text.slice(0, at), wanted: text.slice(at + 1) };
}

/** @returns the entries of a lock that a name on the command line means */
export function packagesMeant(lock: Pick<Lock, 'packages'>, name: string): string[] {
  return Object.entries(lock.packages ?? {})
    .filter(([key, entry]) => key === name || entry.name === name)
    .map(([key]) => key);
}

/** One version of a package, in the revision that has it. */
interface Candidate extends PackageVersion {
  readonly label: string;
  readonly elsewhere?: VersionsElsewhere;
}

export function createPackageLocks(options: PackageLocksOptions): PackageLocks {
  const { sources, locks } = options;

  async function candidatesOf(from: LockedSource, name: string, context: SourceContext): Promise<Candidate[]> {
    const label = labelOf(from);
    return (await sources[from.kind].versions(from, name, context)).map((version) => ({ ...version, label }));
  }

  /** Looked for only where the locked revision does not have all that is wanted. */
  async function elsewhere(
    from: LockedSource,
    queries: readonly { readonly name: string; readonly query: VersionQuery }[],
    known: readonly LockedSource[],
    context: SourceContext,
  ): Promise<(name: string) => Promise<Candidate[]>> {
    const wanted = queries.map(({ name, query }) => ({
      name,
      matches: (upstream: string, version: string) => query.matches(upstream, version),
    }));
    const others = await sources[from.kind].elsewhere(from, wanted, known, context);
    return async (name) => {
      const found = await Promise.all(
        others.map(async (other) =>
          (await other.versions(name)).map((version) => ({ ...version, label: other.label, elsewhere: other })),
        ),
      );
      return found.flat();
    };
  }

  async function resolve(
    from: LockedSource,
    wanted: readonly WantedPackage[],
    context: SourceContext,
    known: readonly LockedSource[] = [],
  ): Promise<ResolvedPackage[]> {
    const asked = wanted
      .filter(({ kind }) => kind === 'at')
      .map((one) => ({ one, name: one.name, query: versionQuery(one.wanted) }));
    const own = new Map<WantedPackage, Candidate[]>();
    for (const { one } of asked) own.set(one, await candidatesOf(from, one.name, context));
    const lacking = asked.filter(({ one, query }) => best(one.name, own.get(one) ?? [], query) === undefined);
    const others = lacking.length > 0 ? await elsewhere(from, lacking, known, context) : undefined;
    const resolved: ResolvedPackage[] = [];
    for (const { one, query } of asked) {
      const here = own.get(one) ?? [];
      const there = lacking.some((lack) => lack.one === one) ? ((await others?.(one.name)) ?? []) : [];
      const found = best(one.name, here, query) ?? best(one.name, there, query);
      if (!found) throw await versionUnknown(one, [...here, ...there], from, context);
      resolved.push(await resolvedOf(one, found, from));
    }
    for (const one of wanted.filter(({ kind }) => kind !== 'at')) {
      if (!options.outside) throw new BerthError('NOT_YET', `Packages of ${one.kind} can't be had here.`);
      resolved.push({ locked: await options.outside(one, from, context) });
    }
    return resolved;
  }

  async function resolvedOf(one: WantedPackage, found: Candidate, from: LockedSource): Promise<ResolvedPackage> {
    const locked = (source: LockedSource, name: string): LockedPackage => ({
      ...one,
      version: found.version,
      origin: source.label.startsWith(source.kind) ? source.label : `${source.kind} ${source.label}`,
      outside: false,
      pin: { source: name, attribute: found.name, ...(found.storePaths ? { storePaths: found.storePaths } : {}) },
    });
    if (!found.elsewhere) return { locked: locked(from, defaultSourceName) };
    const source = await found.elsewhere.lock();
    const name = revisionName(source);
    return { locked: locked(source, name), source: { name, locked: source } };
  }

  async function versionUnknown(
    { name, wanted }: WantedPackage,
    candidates: readonly Candidate[],
    from: LockedSource,
    context: SourceContext,
  ): Promise<BerthError> {
    if (candidates.length === 0) {
      const nearest = await sources[from.kind].nearest(from, name, context);
      return new BerthError('UNKNOWN_PACKAGE', `There is no package \`${name}\` in any version.`, {
        ...(nearest.length > 0 ? { hint: `Did you mean ${nearest.slice(0, 3).join(', ')}?` } : {}),
        details: { name, nearest },
      });
    }
    const nearest = nearestVersions(wanted, unique(candidates), ({ upstream }) => upstream);
    const versions = nearest.map(({ name: attribute, upstream, label }) => ({
      version: upstream,
      source: label,
      ...(attribute === name ? {} : { name: attribute }),
    }));
    const said = versions.slice(0, 6).map((it) => `${'name' in it ? `${it.name} ` : ''}${it.version} (${it.source})`);
    return new BerthError('VERSION_UNKNOWN', `There is no ${name} ${wanted}; there is ${said.join(', ')}.`, {
      details: { name, wanted, versions },
    });
  }

  async function defaultOf(config: ConfigFile, context: SourceContext): Promise<LockedSource> {
    await locks.lockNamed(config, defaultSourceName, context);
    const locked = locks.read(config)[defaultSourceName];
    if (locked) return locked;
    throw new BerthError('INTERNAL', 'The default source was locked and is not in the lock.');
  }

  /** Writes them, and drops revisions that no package has any more. */
  function write(config: ConfigFile, resolved: readonly ResolvedPackage[]): Promise<void> {
    return locks.change(config, (lock) => {
      const packages = { ...lock.packages };
      const revisions = { ...lock.sources };
      for (const { locked, source } of resolved) {
        packages[lockedPackageKey(locked)] = locked;
        if (source) revisions[source.name] = source.locked;
      }
      return withoutUnused({ ...lock, sources: revisions, packages });
    });
  }

  return {
    resolve,
    async lock(config, wanted, context) {
      const known = locks.packages(config);
      const missing = wanted.filter((one) => !known[lockedPackageKey(one)]);
      if (missing.length === 0) return;
      const from = await defaultOf(config, context);
      context.emit({ type: 'phase.started', phase: 'lock', detail: missing.map(lockedPackageKey).join(', ') });
      const start = performance.now();
      await write(config, await resolve(from, missing, context, Object.values(locks.read(config))));
      context.emit({ type: 'phase.finished', phase: 'lock', ms: Math.round(performance.now() - start) });
    },
    async ensure(config, context) {
      for (const entry of Object.values(locks.packages(config))) {
        const { path, ...facts } = entry.pin;
        if (typeof path !== 'string' || ((await options.isThere?.(path)) ?? true)) continue;
        const from = await defaultOf(config, context);
        const again = await options.outside?.({ ...entry, wanted: entry.version }, from, context);
        if (!again) continue;
        const { path: built = path, ...now } = again.pin;
        if (JSON.stringify(now) !== JSON.stringify(facts)) {
          throw new BerthError('HASH_MISMATCH', `${entry.name} ${entry.version} is no longer what the lock says.`, {
            details: { wanted: facts, got: now },
          });
        }
        // Another compiler may give another result, which then is what the lock has.
        if (built !== path) await write(config, [{ locked: { ...entry, pin: { ...facts, path: built } } }]);
      }
    },
    async update(config, names, context) {
      const before = locks.packages(config);
      const keys =
        names.length > 0 ? names.flatMap((name) => packagesMeant({ packages: before }, name)) : Object.keys(before);
      const meant = [...new Set(keys)].flatMap((key) => before[key] ?? []);
      if (meant.length === 0) return [];
      const from = await defaultOf(config, context);
      await write(config, await resolve(from, meant, context));
      const after = locks.packages(config);
      return keys.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]));
    },
    async search(config, name, wanted, limit, context) {
      const query = versionQuery(wanted);
      const from =
        (config && locks.read(config)[defaultSourceName]) ?? (await locks.lockNew(defaultSourceName, context));
      const here = await candidatesOf(from, name, context);
      const there = await (await elsewhere(from, [{ name, query }], [], context))(name);
      const fitting = [here, there].flatMap((candidates) =>
        candidates
          .filter(({ upstream, version }) => query.matches(upstream, version))
          .sort((a, b) => newestFirst(a.upstream, b.upstream)),
      );
      if (fitting.length === 0) {
        throw await versionUnknown({ kind: 'at', name, wanted }, [...here, ...there], from, context);
      }
      return unique(fitting)
        .slice(0, limit)
        .map((found) => ({ name: found.name, version: found.version, description: '', source: found.label }));
    },
  };
}

/** @returns the newest that fits; one under the very name before others, such as `python3.13` for `python3` */
function best(name: string, candidates: readonly Candidate[], query: VersionQuery): Candidate | undefined {
  const fitting = candidates
    .filter(({ upstream, version }) => query.matches(upstream, version))
    .sort((a, b) => newestFirst(a.upstream, b.upstream));
  return fitting.find((candidate) => candidate.name === name) ?? fitting[0];
}

function unique(candidates: readonly Candidate[]): Candidate[] {
  const seen = new Set<string>();
  return candidates.filter(({ upstream, label }) => {
    const key = `${upstream} ${label}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** `debian bookworm` */
function labelOf(locked: LockedSource): string {
  const suite = locked.pin['suite'];
  return typeof suite === 'string' ? `${locked.kind} ${suite}` : locked.label;
}
