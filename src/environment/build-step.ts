/**
 * Keys 2 and 3, the derivation and the closure: an environment whose derivation was built before is not built again while
 * its output is in the store; one that was collected comes back from a binary cache or a build by itself.
 */
import { existsSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Builder, WorkerJob } from '../builder/builder.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { evaluatedConfigSchema, type EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { Nix } from '../nix/nix.ts';
import type { SourceKind } from '../nix/prepared-source.ts';
import type { BinaryCache } from '../nix/realise.ts';
import { nameOfDerivation } from '../nix/internal-json.ts';
import { isStorePath, physicalPath, type StorePath } from '../nix/store.ts';
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
  readonly builder: Builder;
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

/** What an environment's build is made again from after a crash. */
const resumeSchema = z.object({
  config: evaluatedConfigSchema,
  sources: z.array(z.enum(['debian', 'nixpkgs', 'path'])),
});

/** The kind of these builds. */
const kind = 'environment';

export function createBuildStep(options: BuildStepOptions): BuildStep {
  const { nix, records, builder } = options;
  // How many wait for each derivation.
  const waiting = new Map<string, number>();

  // The root keeps the whole closure, so the environment's own path tells whether all of it is there.
  function known(evaluated: EvaluatedConfig): Environment | undefined {
    const environment = records.environment(environmentKey(evaluated));
    return environment && isThere(environment.storePath) ? environment : undefined;
  }

  function isThere(path: StorePath): boolean {
    return existsSync(physicalPath(nix.store, path));
  }

  async function whileWaiting<T>(drvPath: string, work: () => Promise<T>): Promise<T> {
    waiting.set(drvPath, (waiting.get(drvPath) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const left = (waiting.get(drvPath) ?? 1) - 1;
      if (left === 0) waiting.delete(drvPath);
      else waiting.set(drvPath, left);
    }
  }

  /** The job of a derivation: configs that differ in what is not in the derivation share it. */
  function jobOf(evaluated: Pick<Evaluated, 'config' | 'sources' | 'force'>): WorkerJob<StorePath> {
    const { config, sources, force } = evaluated;
    const { drvPath } = config;
    // Its own root is made with it, so what the root leads to is built and kept.
    const rootLink = join(nix.roots.folder, rootNameOf(drvPath));
    return {
      kind,
      key: drvPath,
      title: nameOfDerivation(drvPath),
      worker: true,
      force: force ?? false,
      resume: { config, sources: [...sources] } satisfies z.input<typeof resumeSchema>,
      done: () => builtAt(rootLink),
      run: ({ worker, emit, signal, logFile }) =>
        whileWaiting(drvPath, async () => {
          const caches = sources.flatMap((source) => options.cachesOf(source));
          const task = { paths: [drvPath], caches, rootLink };
          const { paths } = await worker.run(task, { emit, signal, logFile }).catch(async (error: unknown) => {
            if (!isTakenUp(error)) await letGo(drvPath);
            throw error;
          });
          await letGo(drvPath);
          const storePath = paths[0];
          if (storePath === undefined) throw new BerthError('INTERNAL', `Nix built ${drvPath} and named no output.`);
          await remember(config, storePath);
          return storePath;
        }),
    };
  }

  const letGo = (drvPath: string) => nix.roots.remove(buildingNameOf(drvPath));

  /** @returns the output that a root of Berth's leads to, where both are there */
  function builtAt(rootLink: string): StorePath | undefined {
    try {
      const path = readlinkSync(rootLink);
      return isStorePath(path) && isThere(path) ? path : undefined;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'EINVAL')) return undefined;
      throw error;
    }
  }

  async function remember(config: EvaluatedConfig, storePath: StorePath): Promise<Environment> {
    const environment = readEnvironment(nix.store, storePath, config, await nix.closureOf([storePath]));
    records.saveEnvironment(environmentKey(config), environment);
    return environment;
  }

  builder.resumable(kind, (kept) => {
    const parsed = resumeSchema.safeParse(kept);
    if (!parsed.success || !existsSync(physicalPath(nix.store, parsed.data.config.drvPath))) return undefined;
    return jobOf(parsed.data);
  });

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
      return whileWaiting(config.drvPath, async () => {
        // From here on the derivation has a root, and what it gives gets one from Nix.
        if (isStorePath(config.drvPath)) await nix.roots.add(buildingNameOf(config.drvPath), config.drvPath);
        context.hold?.end();
        const { tenant, priority = 'interactive' } = context;
        const job = { ...jobOf(evaluated), priority, ...(tenant === undefined ? {} : { tenant }) };
        const { value, buildId } = await builder.submit(job, context);
        // Another config of the same derivation may have been first: this one's own words are added to what it built.
        const made = known(config) ?? (await remember(config, value));
        return { environment: made, cache: buildId === null ? 'hit' : 'miss' };
      });
    },
  };
}

/** Whether the same build may be done again, for which the derivation must still be there. A collection drops what is not. */
function isTakenUp(error: unknown): boolean {
  return error instanceof BerthError && (error.code === 'WORKER_DIED' || error.code === 'CANCELLED');
}
