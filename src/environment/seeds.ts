/** Seeds: packages and configs whose closures are in the store ahead of need, and stay there. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '../core/digest.ts';
import { asBerthError, BerthError } from '../core/errors.ts';
import type { Nix } from '../nix/nix.ts';
import type { StorePath } from '../nix/store.ts';
import type { Prepared } from './prepare.ts';
import type { EnvironmentRequest, WorkContext } from './service.ts';
import type { SeedAddRequest, SeedsAdded, SeedSuggestion, SeedSummary } from './storage.ts';
import type { SeedRecord, StorageRecords, Usage } from './storage-records.ts';
import type { SourceLocks } from './source-locks.ts';

export interface SeedsOptions {
  readonly nix: Nix;
  readonly records: StorageRecords;
  readonly locks: SourceLocks;
  readonly findConfig: (path: string) => Prepared['config'];
  readonly prepare: (request: EnvironmentRequest, context: WorkContext) => Promise<Prepared>;
  /** Holds the configs that packages are seeded by, and their lock. */
  readonly directory: string;
}

export interface Seeds {
  add(request: SeedAddRequest, context: WorkContext): Promise<SeedsAdded>;
  list(): Promise<SeedSummary[]>;
  remove(names: readonly string[]): Promise<void>;
  suggest(limit: number): Promise<SeedSuggestion[]>;
  /** @throws BerthError SEED_UNKNOWN */
  select(names: readonly string[] | undefined): SeedRecord[];
  /** Records a seed whose path is in the store, and roots it. */
  keep(seed: SeedRecord): Promise<void>;
}

/** @returns the name of the garbage-collection root of a seed */
export function seedRootOf(name: string): string {
  return `seed-${digestOf(name).slice('sha256:'.length, 'sha256:'.length + 16)}`;
}

export function createSeeds(options: SeedsOptions): Seeds {
  const { nix, records } = options;
  const isSeedConfig = (file: string) => file.startsWith(`${options.directory}/`);

  async function keep(seed: SeedRecord): Promise<void> {
    await nix.roots.add(seedRootOf(seed.name), seed.storePath);
    records.saveSeed(seed);
  }

  async function seed(name: string, kind: SeedRecord['kind'], path: string, context: WorkContext): Promise<SeedRecord> {
    const { config, evaluated, environment } = await options.prepare({ path }, { priority: 'background', ...context });
    const made: SeedRecord = {
      name: kind === 'config' ? config.file : name,
      kind,
      storePath: environment.storePath,
      sources: { ...options.locks.read(config) },
      packages: evaluated.packages,
      createdAt: new Date().toISOString(),
    };
    await keep(made);
    return made;
  }

  /** A config with that one package. All of them share the lock beside them. */
  function packageConfig(name: string): string {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_+.-]*$/.test(name)) {
      throw new BerthError('UNKNOWN_PACKAGE', `\`${name}\` is no name of a package.`, { details: { name } });
    }
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const file = join(options.directory, `package-${name}.nix`);
    // A dot may be part of the name (python3.11) or lead to a package in a set (python3Packages.pip).
    const inSet = name
      .split('.')
      .map((part) => `"${part}"`)
      .join('.');
    const expression = name.includes('.') ? `(pkgs."${name}" or pkgs.${inSet})` : `pkgs."${name}"`;
    writeFileSync(file, `{ pkgs }: { packages = [ ${expression} ]; }\n`);
    return file;
  }

  async function summarise(seed: SeedRecord, usage: readonly Usage[]): Promise<SeedSummary> {
    const closure = await nix.closureOf([seed.storePath]).catch(() => ({ paths: [], bytes: 0 }));
    const users = usage.filter(({ file, packages }) =>
      seed.kind === 'config'
        ? file === seed.name
        : !isSeedConfig(file) && packages.some(({ name }) => name === seed.packages[0]?.name),
    );
    const usedAt = Math.max(-Infinity, ...users.map((user) => user.usedAt ?? -Infinity));
    return {
      name: seed.name,
      kind: seed.kind,
      packages: seed.packages.map(({ name, version }) => ({ name, version })),
      sources: [...new Set(Object.values(seed.sources).map((source) => source.label))],
      closure: { paths: closure.paths.length, bytes: closure.bytes },
      createdAt: seed.createdAt,
      usedAt: Number.isFinite(usedAt) ? new Date(usedAt).toISOString() : null,
    };
  }

  return {
    keep,
    async add({ names, configs, update }, context) {
      if (update && names.length > 0) {
        const config = options.findConfig(packageConfig(names[0] ?? ''));
        await options.locks.update(config, [], context);
      }
      const wanted = [
        ...names.map((name) => ({ name, kind: 'package' as const })),
        ...configs.map((name) => ({ name, kind: 'config' as const })),
      ];
      const made: SeedRecord[] = [];
      const failed: SeedsAdded['failed'][number][] = [];
      // One after the other: each uses all cores for itself, and the first locks the source for all.
      for (const { name, kind } of wanted) {
        try {
          made.push(await seed(name, kind, kind === 'config' ? name : packageConfig(name), context));
        } catch (error) {
          const known = asBerthError(error);
          if (known.code === 'CANCELLED' || wanted.length === 1) throw known;
          failed.push({ name, error: known.report() });
        }
      }
      const usage = records.usage();
      return { seeds: await Promise.all(made.map((it) => summarise(it, usage))), failed };
    },
    async list() {
      const usage = records.usage();
      return Promise.all(records.seeds().map((seed) => summarise(seed, usage)));
    },
    async remove(names) {
      for (const seed of this.select(names)) {
        await nix.roots.remove(seedRootOf(seed.name));
        records.deleteSeed(seed.name);
      }
    },
    select(names) {
      const seeds = records.seeds();
      if (names === undefined || names.length === 0) return seeds;
      return names.map((name) => {
        const seed = seeds.find((candidate) => candidate.name === name);
        if (!seed) throw new BerthError('SEED_UNKNOWN', `There is no seed \`${name}\`.`, { details: { name } });
        return seed;
      });
    },
    async suggest(limit) {
      const usage = records.usage().filter(({ file, usedAt }) => usedAt !== null && !isSeedConfig(file));
      const { paths, bytes } = await nix.graph();
      const sizes = new Map<string, number>();
      paths.forEach((path, number) => {
        const name = nameOfPath(path);
        sizes.set(name, Math.max(sizes.get(name) ?? 0, bytes[number] ?? 0));
      });
      const seeded = new Set(records.seeds().flatMap((seed) => seed.packages.map(keyOf)));
      return rank(usage, sizes, seeded).slice(0, limit);
    },
  };
}

/**
 * Ranks packages by what seeding them would have spared: the projects that use one, times what it weighs.
 * @param sizes bytes of store paths by their names
 */
export function rank(
  usage: readonly Usage[],
  sizes: ReadonlyMap<string, number>,
  seeded: ReadonlySet<string>,
): SeedSuggestion[] {
  const found = new Map<string, { readonly named: Usage['packages'][number]; readonly users: Usage[] }>();
  for (const user of usage) {
    for (const named of user.packages) {
      const entry = found.get(keyOf(named)) ?? { named, users: [] };
      entry.users.push(user);
      found.set(keyOf(named), entry);
    }
  }
  return [...found.values()]
    .map(({ named, users }): SeedSuggestion => {
      const name = `${named.name}-${named.version}`;
      return {
        ...named,
        projects: new Set(users.map((user) => user.file)).size,
        environments: new Set(users.map((user) => user.environmentKey)).size,
        // The names of store paths have fewer characters than versions.
        bytes: sizes.get(name.replace(/~/g, '-').replace(/:/g, '_')) ?? 0,
        usedAt: new Date(Math.max(...users.map((user) => user.usedAt ?? 0))).toISOString(),
        seeded: seeded.has(keyOf(named)),
      };
    })
    .sort(
      (a, b) =>
        b.projects * (b.bytes + 1) - a.projects * (a.bytes + 1) ||
        b.projects - a.projects ||
        (a.name < b.name ? -1 : 1),
    );
}

function keyOf(named: { readonly name: string; readonly version: string }): string {
  return `${named.name}@${named.version}`;
}

function nameOfPath(path: StorePath): string {
  return path.slice('/nix/store/'.length + 33);
}
