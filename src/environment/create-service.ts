/** The service: each verb in a few lines, over the steps of the flow, the berths and the locks. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigFile } from '../config/config-file.ts';
import { stopwatch } from '../core/clock.ts';
import { digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import type { BerthSpec, BerthState, Engine, Limits } from '../engine/engine.ts';
import { agentSocket } from '../engine/run-directory.ts';
import { readBerthLog } from './berth-log.ts';
import type { BerthRecord } from './berth-records.ts';
import type { Berths } from './berths.ts';
import type { BuildStep } from './build-step.ts';
import type { EvaluateStep } from './evaluate-step.ts';
import { explainStages } from './explain.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import { inPhase, prepareHeld, prepareKnown, type KnownSteps, type Prepared } from './prepare.ts';
import { usesNix, type NixAccess } from './nix-access.ts';
import type { EnvironmentRecords } from './records.ts';
import type {
  BerthService,
  BerthSummary,
  EnvironmentRequest,
  EnvironmentResult,
  EphemeralBerth,
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
  readonly evaluate: EvaluateStep;
  readonly build: BuildStep;
  readonly guard: GarbageGuard;
  readonly records: EnvironmentRecords;
  readonly berths: Berths;
  /** The engines there are, the preferred one first. */
  readonly engines: readonly Engine[];
  /** The setting `engine`. */
  readonly engine: 'auto' | Engine['name'];
  readonly limits: Limits;
  /** The network of a berth whose command names none. */
  readonly networkOf: (engine: Engine['name']) => BerthSpec['network'];
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

  function find(request: EnvironmentRequest, context: WorkContext): Known | undefined {
    const total = stopwatch();
    const prepared = prepareKnown(request, context, knownSteps);
    return prepared && { prepared, total };
  }

  /** The way from a path to a running berth, shared by `up` and `run`. */
  async function launch(request: UpRequest, context: WorkContext, ephemeral: boolean, known?: Known) {
    const total = known?.total ?? stopwatch();
    if (request.mode === 'image' || request.mode === 'registry') {
      throw new BerthError('MODE_UNSUPPORTED', `Mode ${request.mode} is not there yet.`);
    }
    const engine = await chooseEngine(request.engine, context.signal);
    const prepared = known?.prepared ?? (await prepareHeld(request, context, steps, guard));
    const materialised = await inPhase('materialise', context.emit, async () => ({
      access: request.withNix ? await options.nixAccess() : { mounts: [], variables: {} },
    }));
    const started = await inPhase('start', context.emit, async () => ({
      record: await berths.up(
        engine,
        {
          name: request.name,
          path: request.path,
          directory: prepared.config.directory,
          environment: prepared.environment,
          drvPath: prepared.evaluated.drvPath,
          limits: { ...options.limits, ...request.limits },
          network: request.network ?? options.networkOf(engine.name),
          ports: request.ports ?? (ephemeral ? [] : samePorts(prepared)),
          mounts: materialised.value.access.mounts,
          variables: materialised.value.access.variables,
          command: ephemeral ? null : prepared.environment.command,
          ephemeral,
        },
        context,
      ),
    }));
    const timingsMs: StageTimings = {
      ...prepared.timingsMs,
      materialise: materialised.ms,
      start: started.ms,
      total: total(),
    };
    return { record: started.value.record, engine, prepared, timingsMs };
  }

  async function up(request: UpRequest, context: WorkContext, known?: Known): Promise<UpResult> {
    const { record, engine, prepared, timingsMs } = await guard.using(() => launch(request, context, false, known));
    const { environment } = prepared;
    return {
      name: record.spec.name,
      id: record.spec.id,
      state: 'ready',
      mode: 'shell',
      engine: engine.name,
      configDigest: prepared.configDigest,
      environmentDigest: environment.digest,
      imageDigest: null,
      cache: prepared.cache,
      closure: { paths: environment.closure.paths.length, bytes: environment.closure.bytes },
      timingsMs,
    };
  }

  async function run(request: UpRequest, context: WorkContext, known?: Known): Promise<EphemeralBerth> {
    const { record, prepared, timingsMs } = await guard.using(() => launch(request, context, true, known));
    return {
      id: record.spec.id,
      name: record.spec.name,
      agentSocket: agentSocket(record.spec.runDirectory),
      cache: prepared.cache,
      timingsMs,
    };
  }

  function environmentResult(prepared: Prepared, total: () => number): EnvironmentResult {
    return {
      environment: prepared.environment,
      configDigest: prepared.configDigest,
      cache: prepared.cache,
      timingsMs: { ...prepared.timingsMs, materialise: 0, start: 0, total: total() },
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
      mode: 'shell',
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
        const known = find(request, context);
        return known && up(request, context, known);
      },
      async run(request, context) {
        const known = find(request, context);
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
        for (const name of await locks.update(config, update, context)) changed.add(name);
      }
      return {
        lockFile: config.lockFile,
        sources: Object.entries(locks.read(config)).map(([name, { label }]) => ({
          name,
          label,
          changed: changed.has(name),
        })),
      };
    },
    async search(path, query, limit, context) {
      return locks.search(path === undefined ? undefined : configIfThere(path), query, limit, context);
    },
    async addPackages(path, names, context) {
      const config = options.findConfig(path);
      await locks.require(config, names, context);
      return { file: config.file, names: await options.editPackages(config, 'add', names) };
    },
    async removePackages(path, names) {
      const config = options.findConfig(path);
      return { file: config.file, names: await options.editPackages(config, 'remove', names) };
    },
  };

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

/** The config's ports, each published under its own number. */
function samePorts(prepared: Prepared): BerthSpec['ports'] {
  return prepared.environment.ports.map((port) => ({ host: port, container: port }));
}
