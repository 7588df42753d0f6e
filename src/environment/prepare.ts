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
import type { Environment } from './environment.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import type { CacheReport, EnvironmentRequest, StageTimings, WorkContext } from './service.ts';

/** What a config came to by an evaluation, now or earlier. */
export interface Evaluated {
  readonly config: EvaluatedConfig;
  readonly cache: 'hit' | 'miss';
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
  readonly build: (evaluated: EvaluatedConfig, context: WorkContext) => Promise<Built>;
}

/** An environment that is ready: all its paths are in the store and rooted. */
export interface Prepared {
  readonly config: ConfigFile;
  readonly configDigest: Digest;
  readonly evaluated: EvaluatedConfig;
  readonly environment: Environment;
  readonly cache: CacheReport;
  readonly timingsMs: Omit<StageTimings, 'materialise' | 'start' | 'total'>;
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
  const built = await inPhase('build', context.emit, () => steps.build(evaluated.value.config, context), cacheOf);

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
