/** The service: each verb in a few lines, over the steps of the flow, the berths and the locks. */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import type { ConfigFile } from '../config/config-file.ts';
import { stopwatch } from '../core/clock.ts';
import { digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import type { BerthSpec, BerthState, Engine, Isolation, Limits } from '../engine/engine.ts';
import { agentSocket } from '../engine/run-directory.ts';
import type { StorePath } from '../nix/store.ts';
import { libraryVariables, type PlacedTree } from '../materialise/library-mounts.ts';
import { readBerthLog } from './berth-log.ts';
import type { BerthRecord } from './berth-records.ts';
import type { Berths, Upped } from './berths.ts';
import type { BuildStep } from './build-step.ts';
import { chooseMode, type ModeQuestion } from './choose-mode.ts';
import { createSwitching, reportOf, type Wanted } from './create-switching.ts';
import type { Environment } from './environment.ts';
import type { EvaluateStep } from './evaluate-step.ts';
import { explainStages } from './explain.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import type { GenerationOrigin, Generations } from './generations.ts';
import type { ImageStep } from './image-step.ts';
import { inPhase, prepareHeld, prepareKnown, type KnownSteps, type Prepared } from './prepare.ts';
import type { LibraryStep } from './library-step.ts';
import { packagesMeant, splitVersion, type PackageLocks } from './package-locks.ts';
import { usesNix, type NixAccess } from './nix-access.ts';
import type { EnvironmentRecords } from './records.ts';
import type {
  BerthService,
  BerthSummary,
  EditOptions,
  EnvironmentRequest,
  EnvironmentResult,
  EphemeralBerth,
  PackagesEdited,
  ReadyService,
  StageTimings,
  UpRequest,
  UpResult,
  WorkContext,
} from './service.ts';
import type { SourceLocks } from './source-locks.ts';

export interface ServiceOptions {
  readonly findConfig: (path: string) => ConfigFile;
  readonly locks: SourceLocks;
  readonly packages: PackageLocks;
  readonly evaluate: EvaluateStep;
  readonly build: BuildStep;
  readonly libraries: LibraryStep;
  readonly guard: GarbageGuard;
  readonly records: EnvironmentRecords;
  readonly berths: Berths;
  readonly generations: Generations;
  /** How many of a berth its history shows. */
  readonly generationsKept: number;
  /** The engines there are, the preferred one first. */
  readonly engines: readonly Engine[];
  /** The setting `engine`. */
  readonly engine: 'auto' | Engine['name'];
  /** The setting `mode`. */
  readonly mode: ModeQuestion['wanted'];
  /** Key 4. */
  readonly image: ImageStep;
  /** This machine's, as Nix says it. */
  readonly system: string;
  /** Where a store path lies on the host. */
  readonly physicalPath: (path: StorePath) => string;
  readonly limits: Limits;
  /** The network of a berth whose command names none. */
  readonly networkOf: (engine: Engine['name']) => BerthSpec['network'];
  /** What a berth sees of the store whose command does not say. */
  readonly isolation: Isolation;
  /** Starts the daemon that containers with Nix speak to, when the first asks for it. */
  readonly nixAccess: () => Promise<NixAccess>;
  readonly editPackages: (
    config: ConfigFile,
    edit: 'add' | 'remove',
    names: readonly string[],
  ) => Promise<readonly string[]>;
}

/** An environment that was ready, and the time since it was looked for. */
interface Known {
  readonly prepared: Prepared;
  readonly total: () => number;
}

/** @returns the service, and the part of it that answers hits only */
export function createService(options: ServiceOptions): BerthService & { readonly ready: ReadyService } {
  const { berths, build, evaluate, guard, locks, records } = options;
  const steps = { findConfig: options.findConfig, evaluate: evaluate.run, build: build.run };
  const knownSteps: KnownSteps = {
    findConfig: options.findConfig,
    evaluated: (config, request) => evaluate.known(config, request),
    built: (evaluated) => build.known(evaluated),
  };

  const engineNamed = (name: string): Engine => {
    const engine = options.engines.find((candidate) => candidate.name === name);
    if (!engine) throw new BerthError('MODE_UNSUPPORTED', `There is no engine ${name} yet.`);
    return engine;
  };

  async function chooseEngine(wanted: UpRequest['engine'], signal?: AbortSignal): Promise<Engine> {
    const name = wanted ?? options.engine;
    if (name !== 'auto') {
      const engine = engineNamed(name);
      const { available, reason } = await engine.available(signal);
      if (!available) throw new BerthError('ENGINE_UNAVAILABLE', `Engine ${name}: ${reason}`);
      return engine;
    }
    const reasons: string[] = [];
    for (const engine of options.engines) {
      const { available, reason } = await engine.available(signal);
      if (available) return engine;
      reasons.push(`${engine.name}: ${reason}`);
    }
    throw new BerthError('ENGINE_UNAVAILABLE', `No engine can run containers here: ${reasons.join('; ')}.`);
  }

  /** An image may have to be made, which takes a command that shows progress. */
  const isHitOnly = (request: UpRequest) => (request.mode ?? options.mode) !== 'image';

  function find(request: EnvironmentRequest, context: WorkContext): Known | undefined {
    const total = stopwatch();
    const prepared = prepareKnown(request, context, knownSteps);
    return prepared && { prepared, total };
  }

  /** The way from a path to a running berth, shared by `up` and `run`. */
  async function launch(
    request: UpRequest,
    context: WorkContext,
    how: { readonly ephemeral: boolean; readonly origin: GenerationOrigin },
    known?: Known,
  ) {
    const total = known?.total ?? stopwatch();
    const engine = await chooseEngine(request.engine, context.signal);
    const prepared = known?.prepared ?? (await prepareHeld(request, context, steps, guard));
    const wanted = { ...wantedOf(prepared), origin: how.origin };
    const placed = await place(engine, request, prepared.config.directory, wanted, how.ephemeral, context);
    const timingsMs: StageTimings = { ...prepared.timingsMs, ...placed.timingsMs, total: total() };
    const cache = { ...prepared.cache, image: placed.image?.cache ?? ('none' as const) };
    const { upped, chosen, image, libraries } = placed;
    return { ...upped, engine, prepared, chosen, image, libraries, cache, timingsMs };
  }

  /** Gives an environment to a new berth, or to the one that is there. */
  async function place(
    engine: Engine,
    request: UpRequest,
    directory: string,
    wanted: Wanted,
    ephemeral: boolean,
    context: WorkContext,
    onto?: BerthRecord,
  ) {
    const { environment } = wanted;
    const isolation = request.isolation ?? options.isolation;
    if (request.withNix && isolation === 'closure') {
      throw new BerthError('MODE_UNSUPPORTED', 'Nix in a berth needs the whole store: use isolation `whole`.');
    }
    const chosen = await chooseMode({
      wanted: request.mode ?? options.mode,
      withNix: request.withNix ?? false,
      engine,
      storePath: options.physicalPath(environment.storePath),
    });
    context.emit({ type: 'mode.chosen', ...chosen });
    const libraries = await options.libraries.run(wanted.evaluated, environment, directory, context);
    const materialised = await inPhase(
      'materialise',
      context.emit,
      async () => ({
        access: request.withNix ? await options.nixAccess() : { mounts: [], variables: {} },
        image:
          chosen.mode === 'image' ? await bringImage(engine, request, wanted, libraries.trees, context) : undefined,
      }),
      ({ image }) => image?.cache,
    );
    const { access, image } = materialised.value;
    const started = await inPhase('start', context.emit, () => {
      const berth = {
        ...wanted,
        image: image?.digest ?? null,
        name: request.name,
        path: request.path,
        directory,
        limits: { ...options.limits, ...request.limits },
        network: request.network ?? options.networkOf(engine.name),
        isolation,
        ports: request.ports ?? (ephemeral ? [] : samePorts(environment)),
        mounts: access.mounts,
        libraries: libraries.trees,
        variables: { ...libraryVariables(libraries.trees, environment.variables), ...access.variables },
        command: ephemeral ? null : environment.command,
        ephemeral,
        asked: request,
      };
      return onto ? berths.refit(engine, onto, berth, context) : berths.up(engine, berth, context);
    });
    const timingsMs = { libraries: libraries.ms, materialise: materialised.ms, start: started.ms };
    return { upped: started.value, chosen, image, libraries: libraries.summaries, timingsMs };
  }

  /** Mode `image`: makes the image where there is none yet, and brings to the engine what it lacks. */
  async function bringImage(
    engine: Engine,
    request: UpRequest,
    wanted: Wanted,
    libraries: readonly PlacedTree[],
    context: WorkContext,
  ) {
    // A rollback works without the config too.
    const config = configIfThere(request.path);
    const { image, cache } = await options.image.run(
      {
        environment: wanted.environment,
        evaluated: wanted.evaluated,
        libraries,
        sources: config ? locks.read(config) : {},
        system: options.system,
        // It stays on this host.
        compression: 'none',
      },
      context,
    );
    const { digest } = image.manifest.descriptor;
    if (!(await engine.hasImage(digest))) {
      await engine.loadImage(image, { emit: context.emit, ...(context.signal ? { signal: context.signal } : {}) });
    }
    return { digest, cache };
  }

  async function up(
    request: UpRequest,
    context: WorkContext,
    known?: Known,
    origin: GenerationOrigin = 'up',
  ): Promise<UpResult> {
    const how = { ephemeral: false, origin };
    const launched = await guard.using(() => launch(request, context, how, known));
    const { record, switched, engine, prepared, chosen, image, libraries, cache, timingsMs } = launched;
    const { environment } = prepared;
    return {
      name: record.spec.name,
      id: record.spec.id,
      state: 'ready',
      mode: chosen.mode,
      modeReason: chosen.reason,
      engine: engine.name,
      configDigest: prepared.configDigest,
      environmentDigest: environment.digest,
      imageDigest: image?.digest ?? null,
      cache,
      closure: { paths: environment.closure.paths.length, bytes: environment.closure.bytes },
      libraries,
      generation: record.generation,
      switched: switched && reportOf({ record, switched }),
      timingsMs,
    };
  }

  const isRunning = async (record: BerthRecord) => (await stateOf(record)).state === 'running';

  /** Gives a berth that is there an environment, with all else as it was asked for. */
  async function fit(record: BerthRecord, wanted: Wanted, context: WorkContext): Promise<Upped> {
    const request = { ...record.request, name: record.spec.name };
    const engine = engineNamed(record.engine);
    return (await place(engine, request, record.directory, wanted, record.ephemeral, context, record)).upped;
  }

  const switching = createSwitching({
    berths,
    generations: options.generations,
    evaluate,
    build,
    guard,
    findConfig: options.findConfig,
    sourcesOf: (config) => [...new Set(Object.values(locks.read(config)).map(({ kind }) => kind))],
    keep: options.generationsKept,
    isRunning,
    refresh: (record, origin, context) =>
      guard.using(async () => {
        const prepared = await prepareHeld(record.request, context, steps, guard);
        return fit(record, { ...wantedOf(prepared), origin }, context);
      }),
    fit,
    up: (request, origin, context) => up(request, context, undefined, origin),
  });

  async function run(request: UpRequest, context: WorkContext, known?: Known): Promise<EphemeralBerth> {
    const { record, cache, timingsMs } = await guard.using(() =>
      launch(request, context, { ephemeral: true, origin: 'up' }, known),
    );
    return {
      id: record.spec.id,
      name: record.spec.name,
      agentSocket: agentSocket(record.spec.runDirectory),
      cache,
      timingsMs,
    };
  }

  function environmentResult(prepared: Prepared, total: () => number): EnvironmentResult {
    return {
      environment: prepared.environment,
      configDigest: prepared.configDigest,
      cache: prepared.cache,
      timingsMs: { ...prepared.timingsMs, libraries: 0, materialise: 0, start: 0, total: total() },
    };
  }

  /** A berth whose engine does not answer is shown as gone: nothing can be done with it now. */
  async function stateOf(record: BerthRecord): Promise<BerthState> {
    try {
      return await engineNamed(record.engine).inspect(record.spec.id);
    } catch (error) {
      if (error instanceof BerthError && error.code === 'ENGINE_UNAVAILABLE') return { state: 'gone' };
      throw error;
    }
  }

  async function summarise(record: BerthRecord): Promise<BerthSummary> {
    const state = await stateOf(record);
    return {
      id: record.spec.id,
      name: record.spec.name,
      state: state.state,
      exitCode: state.state === 'stopped' ? state.exitCode : null,
      engine: record.engine,
      mode: record.spec.image === null ? 'shell' : 'image',
      directory: record.directory,
      environmentDigest: record.environmentDigest,
      createdAt: record.createdAt,
      ports: record.spec.ports,
      agentSocket: agentSocket(record.spec.runDirectory),
    };
  }

  return {
    up: (request, context) => up(request, context),
    run: (request, context) => run(request, context),
    async environment(request, context) {
      const total = stopwatch();
      return environmentResult(await prepareHeld(request, context, steps, guard), total);
    },
    ready: {
      environment(request, context) {
        const known = find(request, context);
        return known && environmentResult(known.prepared, known.total);
      },
      async up(request, context) {
        const known = isHitOnly(request) ? find(request, context) : undefined;
        return known && up(request, context, known);
      },
      async run(request, context) {
        const known = isHitOnly(request) ? find(request, context) : undefined;
        return known && run(request, context, known);
      },
    },
    list: () => Promise.all(berths.all().map(summarise)),
    get: async (nameOrId) => summarise(berths.find(nameOrId)),
    async stop(nameOrId, graceMs) {
      const record = berths.find(nameOrId);
      await berths.stop(engineNamed(record.engine), record, graceMs);
    },
    async start(nameOrId, context) {
      const record = berths.find(nameOrId);
      if (usesNix(record.spec)) await options.nixAccess();
      await berths.start(engineNamed(record.engine), record, context);
      return summarise(record);
    },
    async remove(nameOrId) {
      const record = berths.find(nameOrId);
      await berths.remove(engineNamed(record.engine), record);
    },
    pool: () => Promise.resolve(options.engines.flatMap((engine) => engine.pool?.() ?? [])),
    logs: (nameOrId, logOptions) => readBerthLog(join(berths.find(nameOrId).spec.runDirectory, 'log'), logOptions),
    explain(request: EnvironmentRequest) {
      const config = options.findConfig(request.path);
      const { stages, environmentDigest } = explainStages(
        evaluate.subject(config, request),
        request.passEnv ?? {},
        records,
        build,
      );
      return Promise.resolve({
        configFile: config.file,
        configDigest: digestOf(readFileSync(config.file)),
        environmentDigest,
        stages,
      });
    },
    async lock(path, { update }, context) {
      const config = options.findConfig(path);
      const before = locks.read(config);
      const changed = new Set<string>();
      if (Object.keys(before).length === 0) {
        // Evaluating asks for the sources that the config uses, and so locks them.
        const hold = guard.hold();
        try {
          await evaluate.run(config, { path }, { ...context, hold });
        } finally {
          hold.end();
        }
        for (const name of Object.keys(locks.read(config))) changed.add(name);
      } else if (update) {
        // A name may be a package's as well as a source's.
        const { packages: pinned } = locks.readAll(config);
        const ofPackages = update.filter((name) => packagesMeant({ packages: pinned }, name).length > 0);
        const ofSources = update.filter((name) => !ofPackages.includes(name));
        if (update.length === 0 || ofSources.length > 0) {
          for (const name of await locks.update(config, ofSources, context)) changed.add(name);
        }
        if (update.length === 0 || ofPackages.length > 0) {
          for (const name of await options.packages.update(config, ofPackages, context)) changed.add(name);
        }
      }
      return {
        lockFile: config.lockFile,
        sources: [
          ...Object.entries(locks.read(config)).map(([name, { label }]) => ({ name, label })),
          ...Object.entries(locks.packages(config)).map(([name, { version, origin }]) => ({
            name,
            label: `${version} (${origin})`,
          })),
        ].map((entry) => ({ ...entry, changed: changed.has(entry.name) })),
      };
    },
    async search(path, query, limit, context) {
      const config = path === undefined ? undefined : configIfThere(path);
      const versioned = /\s/.test(query) ? undefined : splitVersion(query);
      return versioned
        ? options.packages.search(config, versioned.name, versioned.wanted, limit, context)
        : locks.search(config, query, limit, context);
    },
    addPackages: (path, names, context, edit) => editPackages('add', path, names, context, edit),
    removePackages: (path, names, context, edit) => editPackages('remove', path, names, context, edit),
    async editFromInside(nameOrId, edit, names, context) {
      const record = berths.find(nameOrId);
      const config = options.findConfig(record.path);
      checkInside(config, record.directory);
      return editPackages(edit, record.path, names, context, {}, 'inside');
    },
    // What throws in here rejects.
    history: async (nameOrId) => Promise.resolve(switching.history(nameOrId)),
    rollback: switching.rollback,
    watch: switching.watch,
  };

  async function editPackages(
    edit: 'add' | 'remove',
    path: string,
    names: readonly string[],
    context: WorkContext,
    { noSwitch = false }: EditOptions = {},
    origin: GenerationOrigin = edit,
  ): Promise<PackagesEdited> {
    const config = options.findConfig(path);
    if (edit === 'add') await requirePackages(config, names, context);
    const edited = await options.editPackages(config, edit, names);
    const switched = noSwitch ? [] : await switching.switchBerthsOf(config, origin, context);
    return { file: config.file, names: edited, switched };
  }

  /** What is added by its version is locked by that. */
  async function requirePackages(config: ConfigFile, names: readonly string[], context: WorkContext): Promise<void> {
    const versioned = names.flatMap((name) => splitVersion(name) ?? []).map((it) => ({ kind: 'at' as const, ...it }));
    await options.packages.lock(config, versioned, context);
    await locks.require(
      config,
      names.filter((name) => splitVersion(name) === undefined),
      context,
    );
  }

  /** A search works in any folder; one with a config searches what its lock says. */
  function configIfThere(path: string): ConfigFile | undefined {
    try {
      return options.findConfig(path);
    } catch (error) {
      if (error instanceof BerthError && error.code === 'CONFIG_NOT_FOUND') return undefined;
      throw error;
    }
  }
}

/** The project is the berth's to write: a link in it must not lead the daemon to other files of the host. */
function checkInside(config: ConfigFile, directory: string): void {
  const project = `${realpathSync(directory)}${sep}`;
  for (const file of [config.file, config.lockFile]) {
    if (existsSync(file) && !realpathSync(file).startsWith(project)) {
      throw new BerthError('CONFIG_OUTSIDE', `${file} leads out of the project.`);
    }
  }
}

/** The config's ports, each published under its own number. */
function samePorts(environment: Environment): BerthSpec['ports'] {
  return environment.ports.map((port) => ({ host: port, container: port }));
}

function wantedOf({ environment, evaluated, configDigest }: Prepared): Omit<Wanted, 'origin'> {
  return { environment, evaluated, configDigest };
}
