/**
 * Garbage collection: drops environments, sources, traces and files that nothing needs, then what the store holds for
 * nobody. Needed are: the environments of berths and of the last days, seeds, what is being built, and the revisions of
 * sources that a project's lock names.
 */
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestOfJson } from '../core/digest.ts';
import { isErrno } from '../core/files.ts';
import type { Nix } from '../nix/nix.ts';
import { isStorePath, physicalPath, type StorePath } from '../nix/store.ts';
import type { Berths } from './berths.ts';
import { buildingNameOf, rootNameOf, type BuildStep } from './build-step.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import { deadPaths } from './garbage-dead.ts';
import type { Generations } from './generations.ts';
import { libraryRootOf, type KeptLibraryRecords } from './library-records.ts';
import { inPhase } from './prepare.ts';
import type { EnvironmentRecords } from './records.ts';
import { seedRootOf } from './seeds.ts';
import type { ImageRecords } from './image-records.ts';
import type { WorkContext } from './service.ts';
import { isLocked, sourceRootOf } from './source-keeper.ts';
import type { GarbageReport } from './storage.ts';
import type { StorageRecords } from './storage-records.ts';

export interface GarbageOptions {
  readonly nix: Nix;
  readonly records: EnvironmentRecords;
  readonly storage: StorageRecords;
  readonly berths: Berths;
  readonly generations: Pick<Generations, 'all'>;
  readonly build: Pick<BuildStep, 'building'>;
  readonly guard: GarbageGuard;
  readonly libraries: KeptLibraryRecords;
  /** How many days an environment is kept that no berth has: the setting `gc.keepDays`. */
  readonly keepDays: number;
  /** Records of images are dropped as environments are; blobs that no image needs are the registry's to sweep. */
  readonly images?: Pick<ImageRecords, 'all' | 'delete'>;
  /** Removes an image from the engines. */
  readonly dropImage?: (digest: Digest) => Promise<void>;
  /** Folders whose files are dropped when they are older than that: logs, downloads. */
  readonly agingFolders: readonly string[];
  /** Holds a folder for each berth, and for each container that waits for one. */
  readonly berthsDirectory: string;
  /** Ids of the containers that wait. */
  readonly waiting?: () => readonly string[];
  readonly now?: () => number;
}

/** How far back an environment counts as just made ready, while a berth may be about to get it. */
const graceMs = 10 * 60_000;
const dayMs = 24 * 3600_000;
/** How often the dead are looked for in one collection, when some of them come into use meanwhile. */
const attempts = 3;

interface Plan {
  readonly environments: readonly { readonly key: string; readonly digest: string }[];
  readonly sources: readonly ReturnType<StorageRecords['sources']>[number][];
  /** Keys of library trees. */
  readonly trees: readonly Digest[];
  /** Names of Berth's roots that are dropped. */
  readonly roots: readonly string[];
  readonly images: readonly { readonly key: Digest; readonly digest: Digest }[];
  readonly traces: number;
  readonly tracesBefore: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
}

export function createGarbageCollector(options: GarbageOptions) {
  const { nix, records, storage } = options;
  const now = options.now ?? Date.now;

  /** Decides what goes. Reads only; what it reads can't change before it is acted on, since that is one step. */
  function plan(rootNames: readonly string[]): Plan {
    const recent = now() - (options.guard.inUse ? graceMs : 0);
    const before = Math.min(now() - options.keepDays * dayMs, recent);
    const berths = options.berths.all();
    const generations = options.generations.all();
    const inBerths = new Set<string>([...berths, ...generations].map((it) => it.environmentDigest));
    const seeds = storage.seeds();
    const seeded = new Set<string>(seeds.map((seed) => seed.storePath));
    const environments = records.environments();
    const kept = environments.filter(
      ({ environment, usedAt }) =>
        inBerths.has(environment.digest) || seeded.has(environment.storePath) || usedAt > before,
    );
    const keptKeys = new Set(kept.map(({ key }) => key));

    const lockedInUse = new Set<string>(
      [
        ...seeds.flatMap((seed) => Object.values(seed.sources)),
        ...storage
          .usage()
          .filter(({ environmentKey }) => keptKeys.has(environmentKey))
          .flatMap(({ sources }) => Object.values(sources)),
      ].map((locked) => digestOfJson(locked)),
    );
    const sources = storage.sources();
    const isSourceKept = (source: (typeof sources)[number]) =>
      source.usedAt > recent ||
      lockedInUse.has(digestOfJson(source.locked)) ||
      source.lockFiles.some((file) => isLocked(source.locked, file));
    const keptSources = sources.filter(isSourceKept);

    const mounted = new Set(berths.flatMap(({ spec }) => spec.mounts.map(({ source }) => source)));
    const isTreeKept = ({ tree, usedAt }: (typeof trees)[number]) =>
      usedAt > before || [...mounted].some((source) => source.startsWith(physicalPath(nix.store, tree.storePath)));
    const trees = options.libraries.all();
    const keptTrees = trees.filter(isTreeKept);

    const needed = new Set([
      ...kept.map(({ key }) => rootNameOf(drvPathOf(key))),
      ...berths.map((berth) => rootNameOf(berth.drvPath)),
      ...generations.map(({ evaluated }) => rootNameOf(evaluated.drvPath)),
      ...[...options.build.building()].flatMap((drvPath) => [rootNameOf(drvPath), buildingNameOf(drvPath)]),
      ...seeds.map((seed) => seedRootOf(seed.name)),
      ...keptSources.flatMap((source) => source.storePaths.map(sourceRootOf)),
      ...keptTrees.map(({ tree }) => libraryRootOf(tree.key)),
    ]);
    return {
      environments: environments
        .filter(({ key }) => !keptKeys.has(key))
        .map(({ key, environment }) => ({ key, digest: environment.digest })),
      sources: sources.filter((source) => !keptSources.includes(source)),
      trees: trees.filter((one) => !keptTrees.includes(one)).map(({ tree }) => tree.key),
      roots: rootNames.filter(
        (name) => /^(environment|building|seed|source|libraries)-/.test(name) && !needed.has(name),
      ),
      images: (options.images?.all() ?? []).flatMap(({ key, record: { digest }, usedAt }) =>
        usedAt > before || berths.some(({ spec }) => spec.image === digest) ? [] : [{ key, digest }],
      ),
      traces: storage.staleTraces(before),
      tracesBefore: before,
      files: [
        ...options.agingFolders.flatMap((folder) => filesOlderThan(folder, before)),
        ...leftovers(
          options.berthsDirectory,
          new Set([...berths.map((berth) => berth.spec.id), ...(options.waiting?.() ?? [])]),
        ),
      ],
    };
  }

  function forget(planned: Plan): void {
    for (const { key } of planned.environments) records.forgetEnvironment(key);
    for (const { locked } of planned.sources) storage.deleteSource(locked);
    for (const { key } of planned.images) options.images?.delete(key);
    for (const key of planned.trees) options.libraries.delete(key);
    storage.deleteStaleTraces(planned.tracesBefore);
    for (const name of planned.roots) rmSync(join(nix.roots.folder, name), { force: true });
    for (const { path } of planned.files) rmSync(path, { recursive: true, force: true });
  }

  function report(planned: Plan, dryRun: boolean, store: GarbageReport['store']): GarbageReport {
    return {
      dryRun,
      keepDays: options.keepDays,
      environments: planned.environments.map(({ digest }) => digest),
      sources: planned.sources.map(({ locked }) => locked.label),
      traces: planned.traces,
      files: { count: planned.files.length, bytes: planned.files.reduce((sum, { bytes }) => sum + bytes, 0) },
      store,
    };
  }

  /** What the store would lose, told without changing anything. */
  async function rehearse(context: WorkContext): Promise<GarbageReport> {
    const roots = await nix.roots.list();
    const planned = plan(roots.map(({ name }) => name));
    const dropped = new Set(planned.roots);
    const [graph, others] = await Promise.all([nix.graph(), otherRoots(nix, context.signal)]);
    const kept = roots.filter(({ name }) => !dropped.has(name)).map(({ path }) => path);
    const { paths, bytes } = deadPaths(graph, [...kept, ...others]);
    return report(planned, true, { paths: paths.length, bytes });
  }

  /**
   * Deletes what is dead by the store's own database: to find it takes a second where Nix takes minutes on a large store. That
   * it may go is for Nix to say, path by path.
   * @param begun called when others may go on: when no derivation is left that an evaluation could take for one to keep
   */
  async function sweep(begun: () => void, context: WorkContext): Promise<GarbageReport['store']> {
    const options = context.signal ? { signal: context.signal } : {};
    const total = { paths: 0, bytes: 0 };
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      const [graph, roots, others] = await Promise.all([
        nix.graph(),
        nix.roots.list(),
        otherRoots(nix, context.signal),
      ]);
      const dead = deadPaths(graph, [...roots.map(({ path }) => path), ...others]);
      if ((await nix.leftoversInStore(new Set(graph.paths))).length > 0) {
        const collected = await nix.collectGarbage({ ...options, onRootsRead: begun });
        return { paths: total.paths + collected.paths.length, bytes: total.bytes + (collected.freedBytes ?? 0) };
      }
      const onBatch = (done: number) => {
        if (done >= dead.untilDerivations) begun();
      };
      onBatch(0);
      const deleted = await nix.deletePaths(dead.paths, { ...options, onBatch });
      total.paths += deleted.paths.length;
      total.bytes += deleted.freedBytes ?? 0;
      // What came into use while it was looked at: the rest is found anew, or at the next collection.
      if (!deleted.spared) break;
    }
    return total;
  }

  return {
    async collect({ dryRun = false }: { readonly dryRun?: boolean }, context: WorkContext): Promise<GarbageReport> {
      const { value } = await inPhase('collect', context.emit, async () => {
        if (dryRun) return rehearse(context);
        return options.guard.collect(async (begun) => {
          const names = readRootNames(nix.roots.folder);
          const planned = plan(names);
          forget(planned);
          for (const { digest } of planned.images) await options.dropImage?.(digest);
          return report(planned, false, await sweep(begun, context));
        }, context.signal);
      });
      return value;
    },
  };
}

/** The derivation of an environment's key: see environmentKey. */
function drvPathOf(key: string): string {
  return key.split('#')[0] ?? key;
}

function readRootNames(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith('.'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Roots that are not Berth's own: of other homes, of programs that run, of builds. `LINK -> PATH`, one a line. */
async function otherRoots(nix: Nix, signal: AbortSignal | undefined): Promise<StorePath[]> {
  const text = await nix.process.require('nix-store', ['--gc', '--print-roots'], signal ? { signal } : {});
  return text.split('\n').flatMap((line) => {
    const [link = '', path = ''] = line.split(' -> ');
    return link.startsWith(`${nix.roots.folder}/`) || !isStorePath(path) ? [] : [path];
  });
}

function filesOlderThan(folder: string, before: number): Plan['files'] {
  return entriesOf(folder).flatMap((name) => {
    const path = join(folder, name);
    const status = lstatSync(path, { throwIfNoEntry: false });
    return status?.isFile() && status.mtimeMs < before ? [{ path, bytes: status.size }] : [];
  });
}

/** Folders of berths that are not recorded. A berth is recorded in the step in which its folder is made. */
function leftovers(folder: string, known: ReadonlySet<string>): Plan['files'] {
  return entriesOf(folder)
    .filter((name) => !known.has(name))
    .map((name) => ({ path: join(folder, name), bytes: 0 }));
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
