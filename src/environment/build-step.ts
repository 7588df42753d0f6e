/**
 * Keys 2 and 3, the derivation and the closure: an environment whose derivation was built before is not built again while
 * its output is in the store; one that was collected comes back from a binary cache or a build by itself.
 */
import { existsSync } from 'node:fs';
import type { EvaluatedConfig } from '../config/evaluated-config.ts';
import { BerthError } from '../core/errors.ts';
import { SingleFlight } from '../core/single-flight.ts';
import type { Nix } from '../nix/nix.ts';
import { physicalPath } from '../nix/store.ts';
import type { Environment } from './environment.ts';
import type { Built } from './prepare.ts';
import { readEnvironment } from './read-environment.ts';
import { environmentKey, type EnvironmentRecords } from './records.ts';
import type { WorkContext } from './service.ts';

export interface BuildStepOptions {
  readonly nix: Nix;
  readonly records: EnvironmentRecords;
  /** Where the logs of builds are kept. */
  readonly logDirectory: string;
}

export interface BuildStep {
  /** @throws BerthError BUILD_FAILED, HASH_MISMATCH, DISK_FULL, MIRROR_UNREACHABLE, CANCELLED */
  readonly run: (evaluated: EvaluatedConfig, context: WorkContext) => Promise<Built>;
  /** @returns the environment of an evaluation, when it is built and in the store */
  known(evaluated: EvaluatedConfig): Environment | undefined;
}

/** @returns the name of the garbage-collection root that keeps an environment */
export function rootNameOf(drvPath: string): string {
  return `environment-${drvPath.slice('/nix/store/'.length).split('-')[0] ?? ''}`;
}

export function createBuildStep(options: BuildStepOptions): BuildStep {
  const { nix, records } = options;
  const flights = new SingleFlight<string, Environment>();

  // The root keeps the whole closure, so the environment's own path tells whether all of it is there.
  function known(evaluated: EvaluatedConfig): Environment | undefined {
    const environment = records.environment(environmentKey(evaluated));
    return environment && existsSync(physicalPath(nix.store, environment.storePath)) ? environment : undefined;
  }

  async function build(evaluated: EvaluatedConfig, context: WorkContext, signal: AbortSignal): Promise<Environment> {
    const { drvPath } = evaluated;
    const { paths } = await nix.realise([drvPath], {
      emit: context.emit,
      signal,
      logFile: `${options.logDirectory}/${rootNameOf(drvPath)}.log`,
    });
    const storePath = paths[0];
    if (storePath === undefined) throw new BerthError('INTERNAL', `Nix built ${drvPath} and named no output.`);
    await nix.roots.add(rootNameOf(drvPath), storePath);
    const environment = readEnvironment(nix.store, storePath, evaluated, await nix.closureOf([storePath]));
    records.saveEnvironment(environmentKey(evaluated), environment);
    return environment;
  }

  return {
    known,
    async run(evaluated, context) {
      const environment = known(evaluated);
      if (environment) {
        records.touchEnvironment(environmentKey(evaluated));
        return { environment, cache: 'hit' };
      }
      const { value } = await flights.run(
        environmentKey(evaluated),
        (signal) => build(evaluated, context, signal),
        context.signal,
      );
      return { environment: value, cache: 'miss' };
    },
  };
}
