/** What is done with a berth's environments: history, rollback, following a config. */
import type { ConfigFile } from '../config/config-file.ts';
import { stopwatch } from '../core/clock.ts';
import { asBerthError, BerthError } from '../core/errors.ts';
import { checkTrace, fileDigest } from '../nix/observe.ts';
import type { SourceKind } from '../nix/prepared-source.ts';
import type { ReadTrace } from '../nix/read-trace.ts';
import type { BerthRecord } from './berth-records.ts';
import type { Berths, Upped } from './berths.ts';
import type { BuildStep } from './build-step.ts';
import type { Environment } from './environment.ts';
import type { EvaluateStep } from './evaluate-step.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import type { Generation, GenerationOrigin, Generations } from './generations.ts';
import { inPhase } from './prepare.ts';
import { environmentKey } from './records.ts';
import type {
  BerthHistory,
  GenerationSummary,
  RollbackResult,
  SwitchReport,
  UpRequest,
  UpResult,
  WorkContext,
} from './service.ts';
import { watchFiles } from './watch-files.ts';

/** An environment that a berth is to have, and what it comes from. */
export interface Wanted {
  readonly environment: Environment;
  readonly evaluated: Generation['evaluated'];
  readonly configDigest: Generation['configDigest'];
  readonly origin: GenerationOrigin;
  readonly of?: number;
}

export interface SwitchingOptions {
  readonly berths: Berths;
  readonly generations: Generations;
  readonly evaluate: Pick<EvaluateStep, 'known' | 'lastRead'>;
  readonly build: Pick<BuildStep, 'run'>;
  readonly guard: GarbageGuard;
  readonly findConfig: (path: string) => ConfigFile;
  /** Kinds of the sources that a config has locked. */
  readonly sourcesOf: (config: ConfigFile) => SourceKind[];
  /** How many generations the history shows. */
  readonly keep: number;
  readonly isRunning: (record: BerthRecord) => Promise<boolean>;
  /** Evaluates and builds the config of the berth's request, and gives the berth what came of it. */
  readonly refresh: (record: BerthRecord, origin: GenerationOrigin, context: WorkContext) => Promise<Upped>;
  /** Gives the berth an environment that is there. */
  readonly fit: (record: BerthRecord, wanted: Wanted, context: WorkContext) => Promise<Upped>;
  readonly up: (request: UpRequest, origin: GenerationOrigin, context: WorkContext) => Promise<UpResult>;
}

export function createSwitching(options: SwitchingOptions) {
  const { berths, generations, evaluate, build, guard, findConfig } = options;

  /** Whether the berth has what its config means now, as far as that is known without evaluating. */
  function agrees(record: BerthRecord, current: Generation | undefined): BerthHistory['config'] {
    try {
      const known = evaluate.known(findConfig(record.path), record.request);
      if (!known || !current) return 'unknown';
      return environmentKey(known) === environmentKey(current.evaluated) ? 'same' : 'differs';
    } catch (error) {
      if (error instanceof BerthError) return 'unknown';
      throw error;
    }
  }

  function target(record: BerthRecord, all: readonly Generation[], to: number | undefined): Generation {
    const { name } = record.spec;
    if (to !== undefined) {
      const found = all.find(({ number }) => number === to);
      if (!found) throw new BerthError('GENERATION_UNKNOWN', `${name} has no generation ${to}.`);
      return found;
    }
    const current = all.find(({ number }) => number === record.generation);
    // After a rollback the one before is that before the one which it led back to.
    const base = current?.of ?? record.generation;
    const found = all.find(({ number }) => number < base);
    if (!found) throw new BerthError('GENERATION_UNKNOWN', `${name} has no generation before ${base}.`);
    return found;
  }

  /** Without evaluating: what was evaluated is in the record. What was collected comes back from a cache or a build. */
  async function environmentOf(
    record: BerthRecord,
    generation: Generation,
    context: WorkContext,
  ): Promise<Environment> {
    const hold = guard.hold();
    try {
      await hold.begin(context.signal);
      const evaluated = { config: generation.evaluated, sources: sourcesOf(record), cache: 'hit' } as const;
      return (await build.run(evaluated, { ...context, hold })).environment;
    } catch (error) {
      const known = asBerthError(error);
      if (known.code === 'CANCELLED' || known.code === 'DISK_FULL') throw known;
      const what = `The packages of generation ${generation.number} of ${record.spec.name} are not there any more`;
      throw new BerthError('GENERATION_GONE', `${what}: ${known.message}`, { cause: error });
    } finally {
      hold.end();
    }
  }

  function sourcesOf(record: BerthRecord): SourceKind[] {
    try {
      return options.sourcesOf(findConfig(record.path));
    } catch (error) {
      // A config that is gone or broken must not stand in the way back.
      if (error instanceof BerthError) return [];
      throw error;
    }
  }

  function history(nameOrId: string): BerthHistory {
    const record = berths.find(nameOrId);
    const all = generations.of(record.spec.name);
    const current = all.find(({ number }) => number === record.generation);
    return {
      name: record.spec.name,
      id: record.spec.id,
      current: record.generation,
      config: agrees(record, current),
      generations: all.slice(0, options.keep).map((generation): GenerationSummary => ({
        number: generation.number,
        current: generation === current,
        at: generation.at,
        origin: generation.origin,
        of: generation.of ?? null,
        environmentDigest: generation.environmentDigest,
        configDigest: generation.configDigest,
        packages: generation.evaluated.packages,
        difference: generation.difference,
      })),
    };
  }

  async function rollback(
    nameOrId: string,
    { to, origin = 'rollback' }: { readonly to?: number; readonly origin?: GenerationOrigin },
    context: WorkContext,
  ): Promise<RollbackResult> {
    const total = stopwatch();
    const record = berths.find(nameOrId);
    const wanted = target(record, generations.of(record.spec.name), to);
    const of = wanted.of ?? wanted.number;
    const { evaluated, configDigest } = wanted;
    const { value: environment } = await inPhase('build', context.emit, () => environmentOf(record, wanted, context));
    const upped = await guard.using(() =>
      options.fit(record, { environment, evaluated, configDigest, origin, of }, context),
    );
    return { ...reportOf(upped), of, environmentDigest: environment.digest, ms: total() };
  }

  /** Gives the running berths of a config what it means now. */
  async function switchBerthsOf(
    config: ConfigFile,
    origin: GenerationOrigin,
    context: WorkContext,
    which: (record: BerthRecord) => boolean = () => true,
  ): Promise<SwitchReport[]> {
    const reports: SwitchReport[] = [];
    for (const record of berths.all()) {
      if (!which(record) || configOf(record)?.file !== config.file || !(await options.isRunning(record))) continue;
      reports.push(reportOf(await options.refresh(record, origin, context)));
    }
    return reports;
  }

  function configOf(record: BerthRecord): ConfigFile | undefined {
    try {
      return findConfig(record.path);
    } catch (error) {
      if (error instanceof BerthError) return undefined;
      throw error;
    }
  }

  /**
   * Makes the berth of a request follow its config: each time that something which the last evaluation read is saved, it is
   * given what the config then means. What fails is told, and the berth keeps what it has. Ends with the signal.
   */
  async function watch(request: UpRequest, context: WorkContext): Promise<void> {
    const { signal, emit } = context;
    const config = findConfig(request.path);
    let dirty = true;
    let wake: () => void = () => undefined;
    const files = watchFiles(() => {
      dirty = true;
      wake();
    });
    const end = () => wake();
    signal?.addEventListener('abort', end, { once: true });
    const variables = request.passEnv ?? {};
    // What was read when the config was looked at last, whether that went well or not; and the lock, which no evaluation reads.
    let read: ReadTrace | undefined;
    let lock: string | undefined;
    const watchRead = () => {
      const paths = (read ?? []).flatMap((seen) => (seen.kind === 'variable' ? [] : [seen.path]));
      files.set([config.file, config.lockFile, ...paths]);
    };
    try {
      while (!signal?.aborted) {
        if (!dirty) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        dirty = false;
        // Watched before it is looked at, so that no save comes between the two.
        watchRead();
        if (read && lock === fileDigest(config.lockFile) && checkTrace(read, variables).same) continue;
        try {
          await options.up(request, 'watch', context);
        } catch (error) {
          if (signal?.aborted) break;
          emit({ type: 'failed', error: asBerthError(error).report() });
        }
        lock = fileDigest(config.lockFile);
        read = evaluate.lastRead(config) ?? [];
        watchRead();
      }
    } finally {
      signal?.removeEventListener('abort', end);
      files.close();
    }
  }

  return { history, rollback, switchBerthsOf, watch };
}

export function reportOf({ record, switched }: Upped): SwitchReport {
  return {
    name: record.spec.name,
    id: record.spec.id,
    from: switched?.from ?? record.generation,
    to: record.generation,
    difference: switched?.difference ?? null,
    replaced: switched?.replaced ?? false,
  };
}
