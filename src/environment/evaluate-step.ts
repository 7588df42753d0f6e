/**
 * Key 1, the trace: a config means what it meant when nothing that its last evaluation read has changed. Otherwise it is
 * evaluated, once however many ask.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { createStormBrake, evaluationBrake } from '../builder/storm-brake.ts';
import type { ConfigFile } from '../config/config-file.ts';
import { lockedPackageKey, packageKinds, type LockedPackage } from '../config/lock.ts';
import { digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { SingleFlight } from '../core/single-flight.ts';
import type { Evaluation } from '../nix/evaluate.ts';
import type { Nix } from '../nix/nix.ts';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import { checkTrace } from '../nix/observe.ts';
import type { SourceKind } from '../nix/prepared-source.ts';
import type { ReadTrace } from '../nix/read-trace.ts';
import type { LockedSource } from '../sources/source.ts';
import type { BuildStep } from './build-step.ts';
import type { PackageLocks, WantedPackage } from './package-locks.ts';
import type { Evaluated } from './prepare.ts';
import { environmentKey, type EnvironmentRecords, type TraceRecord } from './records.ts';
import type { EnvironmentRequest, WorkContext } from './service.ts';
import { defaultSourceName, unknownPackageHint, type SourceLocks } from './source-locks.ts';
import { subjectKey, type EvaluatorIdentity, type Subject } from './subject.ts';

export interface EvaluateStepOptions {
  readonly nix: Pick<Nix, 'evaluate'>;
  readonly records: EnvironmentRecords;
  readonly locks: SourceLocks;
  readonly packages: Pick<PackageLocks, 'lock' | 'ensure'>;
  readonly evaluator: EvaluatorIdentity;
  /** How what an earlier evaluation gave can still be had; a garbage collection may have taken it. */
  readonly reachable: BuildStep['reachable'];
  /** Runs an evaluation when its turn has come, so that not too many run at once. */
  readonly inTurn: <T>(key: string, context: WorkContext, work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  /** Names of the packages that `--nix` adds, for a default source of that kind. */
  readonly nixPackages: (kind: LockedSource['kind']) => readonly string[];
}

export interface EvaluateStep {
  /** @throws BerthError the config's own fault, or its sources' */
  readonly run: (config: ConfigFile, request: EnvironmentRequest, context: WorkContext) => Promise<Evaluated>;
  /** @returns what an earlier evaluation gave, when it would give the same now and is built; it then counts as used */
  known(config: ConfigFile, request: EnvironmentRequest): EvaluatedConfig | undefined;
  /** @returns what was read when the config was evaluated last by this process, or found to mean what it meant */
  lastRead(config: ConfigFile): ReadTrace | undefined;
  /** @returns the subject of a config as its lock is now */
  subject(config: ConfigFile, request: EnvironmentRequest): Subject;
}

/** How often a config that keeps changing under the evaluation is evaluated anew before that is an error. */
const attempts = 5;

/** How many failed configs are remembered. */
const failuresKept = 100;

export function createEvaluateStep(options: EvaluateStepOptions): EvaluateStep {
  const { nix, records, locks } = options;
  const flights = new SingleFlight<string, Evaluation>();
  const reads = new Map<string, ReadTrace>();
  const brake = createStormBrake(evaluationBrake);
  // What the last failed evaluation read: an edit of any of it may make the next succeed, so it is tried at once.
  const failedTraces = new Map<string, ReadTrace>();

  function fails(key: string, trace: ReadTrace, error: BerthError): void {
    failedTraces.delete(key);
    failedTraces.set(key, trace);
    const [oldest] = failedTraces.keys();
    if (failedTraces.size > failuresKept && oldest !== undefined) failedTraces.delete(oldest);
    brake.failed(key, error.report());
  }

  function subject(config: ConfigFile, request: EnvironmentRequest): Subject {
    const { sources, packages } = locks.readAll(config, request.system);
    return {
      file: config.file,
      sources,
      ...(Object.keys(packages).length > 0 ? { packages } : {}),
      withNix: request.withNix ?? false,
      evaluator: { ...options.evaluator, ...(request.system === undefined ? {} : { system: request.system }) },
    };
  }

  function known(of: Subject, variables: Readonly<Record<string, string>>): TraceRecord | undefined {
    return records
      .traces(of)
      .find((record) => checkTrace(record.trace, variables).same && options.reachable(record.evaluated) !== undefined);
  }

  async function evaluate(
    config: ConfigFile,
    request: EnvironmentRequest,
    context: WorkContext,
    key: string,
    signal: AbortSignal,
  ): Promise<Evaluation> {
    const flight = { emit: context.emit, signal };
    if (mentionsDefaultSource(config)) await locks.lockNamed(config, defaultSourceName, flight);
    // Sources and versions are locked when the config first asks for them; each round adds some, so the rounds end.
    for (;;) {
      if (request.system !== undefined) await locks.lockFor(request.system, config, flight);
      const sources = await locks.prepareAll(config, flight, request.system);
      await options.packages.ensure(config, flight);
      const evaluation = await options.inTurn(key, { ...context, signal }, (turnSignal) =>
        nix.evaluate(
          {
            config,
            sources,
            packages: locks.packages(config),
            defaultSource: defaultSourceName,
            extraPackages: request.withNix ? options.nixPackages(locks.defaultKind(config)) : [],
            withNix: request.withNix ?? false,
            passEnv: request.passEnv ?? {},
            allowUnfree: options.evaluator.allowUnfree,
            system: request.system ?? options.evaluator.system,
          },
          turnSignal,
        ),
      );
      if (evaluation.ok) return evaluation;
      const source = sourceNeeded(evaluation.error);
      const versions = packagesNeeded(evaluation.error, locks.packages(config));
      if (source) await locks.lockNamed(config, source.name, flight, source.from);
      else if (versions.length > 0) await options.packages.lock(config, versions, flight);
      else return evaluation;
    }
  }

  return {
    subject,
    lastRead: (config) => reads.get(config.file),
    known(config, request) {
      const hit = known(subject(config, request), request.passEnv ?? {});
      if (!hit || options.reachable(hit.evaluated) !== 'built') return undefined;
      records.touchEnvironment(environmentKey(hit.evaluated));
      return hit.evaluated;
    },
    async run(config, request, context) {
      const variables = request.passEnv ?? {};
      for (let attempt = 1; ; attempt += 1) {
        let hit = known(subject(config, request), variables);
        if (hit && options.reachable(hit.evaluated) === 'derivation') {
          // It must still be there when it is built.
          await context.hold?.begin(context.signal);
          hit = known(subject(config, request), variables);
        }
        if (hit) {
          reads.set(config.file, hit.trace);
          records.touchEnvironment(environmentKey(hit.evaluated));
          return { config: hit.evaluated, sources: kindsOf(hit.subject), cache: 'hit' };
        }

        await context.hold?.begin(context.signal);
        // The config's own bytes are in the key: an edit while its evaluation runs starts another.
        const before = subject(config, request);
        const key = `${subjectKey(before)} ${digestOf(readFileSync(config.file))} ${JSON.stringify(variables)}`;
        const failed = failedTraces.get(key);
        if (failed && !request.retry) {
          if (checkTrace(failed, variables).same) brake.check(key, `The evaluation of ${config.file}`);
          else brake.clear(key);
        }
        const { value: evaluation } = await flights.run(
          key,
          (signal) => evaluate(config, request, context, key, signal),
          context.signal,
        );
        reads.set(config.file, evaluation.trace);
        // What was read may have changed since, by an edit or because another's flight was joined late.
        const current = !evaluation.unstable && checkTrace(evaluation.trace, variables).same;
        if (!current && attempt < attempts) continue;
        if (!evaluation.ok) {
          if (evaluation.error.fault === 'user') fails(key, evaluation.trace, evaluation.error);
          throw await withNearest(evaluation.error, config, context);
        }
        if (!current) {
          throw new BerthError('CONFIG_CHANGING', `${config.file} or a file that it reads kept changing.`);
        }
        const of = subject(config, request);
        const { trace, result: evaluated, how } = evaluation;
        records.saveTrace({ subject: of, trace, evaluated, ...(how ? { how } : {}) });
        return { config: evaluated, sources: kindsOf(of), cache: 'miss' };
      }
    },
  };

  /** An unknown package is told with the names that may have been meant. */
  async function withNearest(error: BerthError, config: ConfigFile, context: WorkContext): Promise<BerthError> {
    const name = error.details?.['name'];
    if (error.code !== 'UNKNOWN_PACKAGE' || typeof name !== 'string') return error;
    const nearest = await locks.nearest(config, name, context);
    if (nearest.length === 0) return error;
    return new BerthError(error.code, error.message, {
      hint: unknownPackageHint(name, nearest),
      ...(error.location ? { location: error.location } : {}),
      details: { ...error.details, nearest },
      cause: error,
    });
  }
}

function kindsOf(subject: Subject): SourceKind[] {
  return [...new Set(Object.values(subject.sources).map(({ kind }) => kind))];
}

/** Spares a first evaluation that would only say that it needs the default source. */
function mentionsDefaultSource(config: ConfigFile): boolean {
  return /\bpkgs\b|<nixpkgs>/.test(readFileSync(config.file, 'utf8'));
}

const neededSchema = z.object({
  source: z.string(),
  from: z.object({ url: z.string(), rev: z.string() }).optional(),
});

function sourceNeeded(error: BerthError): { name: string; from?: { url: string; rev: string } } | undefined {
  if (error.code !== 'SOURCE_NEEDED') return undefined;
  const { source: name, from } = neededSchema.parse(error.details);
  return from ? { name, from } : { name };
}

const wantedSchema = z.array(z.object({ kind: z.enum(packageKinds), name: z.string(), wanted: z.string() }));

/** @returns what the config asks for by version and the lock has not */
function packagesNeeded(error: BerthError, known: Readonly<Record<string, LockedPackage>>): WantedPackage[] {
  if (error.code !== 'PACKAGES_NEEDED') return [];
  return wantedSchema.parse(error.details?.['packages']).filter((one) => !known[lockedPackageKey(one)]);
}
