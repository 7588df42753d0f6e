/**
 * The sentence that Berth says: a config.nix is read, evaluated and built, and an environment is ready. Each step is
 * looked up before it is done, and done once however many ask at the same time.
 */
import { readFileSync } from 'node:fs';
import type { ConfigFile } from '../config/config-file.ts';
import { stopwatch } from '../core/clock.ts';
import { digestOf, type Digest } from '../core/digest.ts';
import type { Emit, Phase } from '../core/events.ts';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { SourceKind } from '../nix/prepared-source.ts';
import type { Environment } from './environment.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import type { CacheReport, EnvironmentRequest, StageTimings, WorkContext } from './service.ts';

/** What a config came to by an evaluation, now or earlier. */
export interface Evaluated {
  readonly config: EvaluatedConfig;
  /** Kinds of the sources that it may have packages of. */
  readonly sources: readonly SourceKind[];
  readonly cache: 'hit' | 'miss';
  /** Builds it even where it has failed several times in a row. */
  readonly force?: boolean;
}

export interface Built {
  readonly environment: Environment;
  readonly cache: 'hit' | 'miss';
}

/** The steps of the flow, each with its own look-up: evaluate-step.ts and build-step.ts. */
export interface PrepareSteps {
  /** Finds the config that a path means. */
  readonly findConfig: (path: string) => ConfigFile;
  readonly evaluate: (config: ConfigFile, request: EnvironmentRequest, context: WorkContext) => Promise<Evaluated>;
  readonly build: (evaluated: Evaluated, context: WorkContext) => Promise<Built>;
}

/** An environment that is ready: all its paths are in the store and rooted. */
export interface Prepared {
  readonly config: ConfigFile;
  readonly configDigest: Digest;
  readonly evaluated: EvaluatedConfig;
  readonly environment: Environment;
  readonly cache: CacheReport;
  readonly timingsMs: Omit<StageTimings, 'libraries' | 'materialise' | 'start' | 'total'>;
}

/**
 * Makes the environment of a config ready.
 * @throws BerthError whatever the config, its sources or the build are at fault for
 */
export async function prepare(
  request: EnvironmentRequest,
  context: WorkContext,
  steps: PrepareSteps,
): Promise<Prepared> {
  const readTime = stopwatch();
  const config = steps.findConfig(request.path);
  const configDigest = digestOf(readFileSync(config.file));
  const read = readTime();

  const evaluated = await inPhase('evaluate', context.emit, () => steps.evaluate(config, request, context), cacheOf);
  const built = await inPhase(
    'build',
    context.emit,
    () => steps.build({ ...evaluated.value, force: request.retry ?? false }, context),
    cacheOf,
  );

  return {
    config,
    configDigest,
    evaluated: evaluated.value.config,
    environment: built.value.environment,
    cache: { environment: evaluated.value.cache, build: built.value.cache, image: 'none' },
    timingsMs: { read, evaluate: evaluated.ms, build: built.ms },
  };
}

/** The same, holding a garbage collection off in the moments in which what it made has no root. */
export async function prepareHeld(
  request: EnvironmentRequest,
  context: WorkContext,
  steps: PrepareSteps,
  guard: GarbageGuard,
): Promise<Prepared> {
  return guard.using(async () => {
    const hold = guard.hold();
    try {
      return await prepare(request, { ...context, hold }, steps);
    } finally {
      hold.end();
    }
  });
}

/** The look-ups of the flow alone. */
export interface KnownSteps {
  readonly findConfig: (path: string) => ConfigFile;
  /** @returns what the config means, when nothing that it read has changed */
  readonly evaluated: (config: ConfigFile, request: EnvironmentRequest) => EvaluatedConfig | undefined;
  /** @returns its environment, when that is in the store */
  readonly built: (evaluated: EvaluatedConfig) => Environment | undefined;
}

/**
 * The environment of a config when it is ready already, found without any work. What it finds is rooted, so that it needs
 * no hold.
 * @returns undefined when something would have to be evaluated, built or locked
 * @throws BerthError CONFIG_NOT_FOUND, LOCK_INVALID
 */
export function prepareKnown(
  request: EnvironmentRequest,
  context: WorkContext,
  steps: KnownSteps,
): Prepared | undefined {
  const readTime = stopwatch();
  const config = steps.findConfig(request.path);
  const configDigest = digestOf(readFileSync(config.file));
  const read = readTime();
  const evaluateTime = stopwatch();
  const evaluated = steps.evaluated(config, request);
  const evaluate = evaluateTime();
  const buildTime = stopwatch();
  const environment = evaluated && steps.built(evaluated);
  const build = buildTime();
  if (!environment) return undefined;
  // Events only now: a miss is told by the one who then does the work.
  for (const [phase, ms] of [
    ['evaluate', evaluate],
    ['build', build],
  ] as const) {
    context.emit({ type: 'phase.started', phase });
    context.emit({ type: 'phase.finished', phase, ms, cache: 'hit' });
  }
  return {
    config,
    configDigest,
    evaluated,
    environment,
    cache: { environment: 'hit', build: 'hit', image: 'none' },
    timingsMs: { read, evaluate, build },
  };
}

function cacheOf(step: { readonly cache: 'hit' | 'miss' }): 'hit' | 'miss' {
  return step.cache;
}

/** Runs one step of the flow between its events. */
export async function inPhase<T>(
  phase: Phase,
  emit: Emit,
  step: () => Promise<T>,
  cacheOf: (value: T) => 'hit' | 'miss' | undefined = () => undefined,
): Promise<{ value: T; ms: number }> {
  const elapsed = stopwatch();
  emit({ type: 'phase.started', phase });
  const value = await step();
  const ms = elapsed();
  const cache = cacheOf(value);
  emit({ type: 'phase.finished', phase, ms, ...(cache ? { cache } : {}) });
  return { value, ms };
}
