/**
 * Keys 2 and 3, the derivation and the closure: an environment whose derivation was built before is not built again while
 * its output is in the store; one that was collected comes back from a binary cache or a build by itself.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import { BerthError } from '../core/errors.ts';
import { SingleFlight } from '../core/single-flight.ts';
import type { Nix } from '../nix/nix.ts';
import type { SourceKind } from '../nix/prepared-source.ts';
import type { BinaryCache } from '../nix/realise.ts';
import { isStorePath, physicalPath } from '../nix/store.ts';
import type { Environment } from './environment.ts';
import type { Built, Evaluated } from './prepare.ts';
import { readEnvironment } from './read-environment.ts';
import { environmentKey, type EnvironmentRecords } from './records.ts';
import type { WorkContext } from './service.ts';

export interface BuildStepOptions {
  readonly nix: Nix;
  readonly records: EnvironmentRecords;
  /** Binary caches that a source brings with it, beside those of the settings. */
  readonly cachesOf: (source: SourceKind) => readonly BinaryCache[];
  /** Where the logs of builds are kept. */
  readonly logDirectory: string;
}

export interface BuildStep {
  /** @throws BerthError BUILD_FAILED, HASH_MISMATCH, DISK_FULL, MIRROR_UNREACHABLE, CANCELLED */
  readonly run: (evaluated: Evaluated, context: WorkContext) => Promise<Built>;
  /** @returns the environment of an evaluation, when it is built and in the store */
  known(evaluated: EvaluatedConfig): Environment | undefined;
  /** @returns how it can be had without another evaluation, if at all */
  reachable(evaluated: EvaluatedConfig): 'built' | 'derivation' | undefined;
  /** @returns the derivations that are being built */
  building(): ReadonlySet<string>;
}

/** @returns the name of the garbage-collection root that keeps an environment */
export function rootNameOf(drvPath: string): string {
  return `environment-${drvPath.slice('/nix/store/'.length).split('-')[0] ?? ''}`;
}

/** @returns the name of the root that keeps a derivation while it is built */
export function buildingNameOf(drvPath: string): string {
  return rootNameOf(drvPath).replace('environment-', 'building-');
}

export function createBuildStep(options: BuildStepOptions): BuildStep {
  const { nix, records } = options;
  const flights = new SingleFlight<string, Environment>();
  // How many wait for each derivation: one of them going away ends nothing.
  const waiting = new Map<string, number>();

  // The root keeps the whole closure, so the environment's own path tells whether all of it is there.
  function known(evaluated: EvaluatedConfig): Environment | undefined {
    const environment = records.environment(environmentKey(evaluated));
    return environment && existsSync(physicalPath(nix.store, environment.storePath)) ? environment : undefined;
  }

  async function build(
    { config, sources }: Evaluated,
    context: WorkContext,
    signal: AbortSignal,
  ): Promise<Environment> {
    const { drvPath } = config;
    const { paths } = await nix
      .realise([drvPath], {
        emit: context.emit,
        signal,
        caches: sources.flatMap((source) => options.cachesOf(source)),
        logFile: `${options.logDirectory}/${rootNameOf(drvPath)}.log`,
        rootLink: join(nix.roots.folder, rootNameOf(drvPath)),
      })
      .finally(() => nix.roots.remove(buildingNameOf(drvPath)));
    const storePath = paths[0];
    if (storePath === undefined) throw new BerthError('INTERNAL', `Nix built ${drvPath} and named no output.`);
    const environment = readEnvironment(nix.store, storePath, config, await nix.closureOf([storePath]));
    records.saveEnvironment(environmentKey(config), environment);
    return environment;
  }

  return {
    known,
    building: () => new Set(waiting.keys()),
    reachable(evaluated) {
      if (known(evaluated)) return 'built';
      return existsSync(physicalPath(nix.store, evaluated.drvPath)) ? 'derivation' : undefined;
    },
    async run(evaluated, context) {
      const { config } = evaluated;
      const environment = known(config);
      if (environment) {
        records.touchEnvironment(environmentKey(config));
        return { environment, cache: 'hit' };
      }
      await context.hold?.begin(context.signal);
      waiting.set(config.drvPath, (waiting.get(config.drvPath) ?? 0) + 1);
      try {
        // From here on the derivation has a root, and what it gives gets one from Nix.
        if (isStorePath(config.drvPath)) await nix.roots.add(buildingNameOf(config.drvPath), config.drvPath);
        context.hold?.end();
        const { value } = await flights.run(
          environmentKey(config),
          (signal) => build(evaluated, context, signal),
          context.signal,
        );
        return { environment: value, cache: 'miss' };
      } finally {
        const left = (waiting.get(config.drvPath) ?? 1) - 1;
        if (left === 0) waiting.delete(config.drvPath);
        else waiting.set(config.drvPath, left);
      }
    },
  };
}
