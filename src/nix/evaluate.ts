/**
 * Evaluates a config in the sandbox: what it means, and what was read to find that out. A failed evaluation is a result,
 * since what it read matters as well: an edit of any of it may make it succeed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { evaluatedConfigSchema, type EvaluatedConfig } from './evaluated-config.ts';
import { BerthError } from '../core/errors.ts';
import type { ExecResult } from '../core/exec.ts';
import { isErrno } from '../core/files.ts';
import type { PreparedSource } from './prepared-source.ts';
import {
  declaredFetchSchema,
  fetchDeclared,
  fetchedPath,
  type DeclaredFetch,
  type Fetched,
} from './declared-fetches.ts';
import { evaluationError, ownError } from './evaluation-errors.ts';
import { defaultLimits, inside, type EvaluationLimits } from './evaluation-sandbox.ts';
import { hostSystem } from './host-system.ts';
import { prepareToEvaluate, runEvaluator, type EvaluatorDependencies, type EvaluatorRun } from './run-evaluator.ts';
import type { ReadTrace } from './read-trace.ts';
import { readStrace, type PathsSeen } from './strace-reader.ts';
import { traceOf } from './trace-of.ts';

export { hostSystem };

export interface EvaluateRequest {
  readonly config: {
    /** Absolute path. */
    readonly file: string;
    /** The project's folder: the only one that the config may read. */
    readonly directory: string;
    readonly shape: 'nix' | 'flake';
  };
  /** The sources that the config may use, prepared, by their names in the lock. */
  readonly sources: Readonly<Record<string, PreparedSource>>;
  /** Packages of versions that the config names, by their names in the lock, as nix/pinned.nix reads them. Default none. */
  readonly packages?: Readonly<Record<string, object>>;
  /** The name of the source that `pkgs` and `<nixpkgs>` mean. */
  readonly defaultSource: string;
  /** Nix's name of the system. Default: this machine's. */
  readonly system?: string;
  /** Variables that `builtins.getEnv` may read. They can end up in the store: no secrets. Default none. */
  readonly passEnv?: Readonly<Record<string, string>>;
  /** Names of packages to add to what the config has. */
  readonly extraPackages?: readonly string[];
  /** Makes the environment one from within which Nix can be used: see nix/container. */
  readonly withNix?: boolean;
  readonly allowUnfree?: boolean;
  readonly limits?: Partial<EvaluationLimits>;
}

interface Observed {
  readonly trace: ReadTrace;
  /** Something changed while it was read: the trace must not be kept. */
  readonly unstable: boolean;
}

export type Evaluation =
  | (Observed & {
      readonly ok: true;
      readonly result: EvaluatedConfig;
      readonly log: string;
      /** Set when no evaluator ran, since the text could be read without one. */
      readonly how?: 'parsed';
    })
  | (Observed & { readonly ok: false; readonly error: BerthError; readonly log: string });

/**
 * @throws BerthError TOOL_MISSING when bwrap, strace or Nix is not there, CANCELLED; every fault of the config is a result
 */
export async function evaluate(
  dependencies: EvaluatorDependencies,
  request: EvaluateRequest,
  signal?: AbortSignal,
): Promise<Evaluation> {
  const { nix } = dependencies;
  const limits = { ...defaultLimits, ...dependencies.limits, ...request.limits };
  await prepareToEvaluate(dependencies);
  // What the config fetches is known only when it gets there: each round finds one more, and the rounds are bounded.
  const fetched = new Map<string, Fetched>();
  for (;;) {
    const round = await evaluateOnce(dependencies, request, limits, fetched, signal);
    const { needed, ...evaluation } = round;
    if (needed === undefined || fetched.has(needed.key)) return evaluation;
    try {
      if (fetched.size >= maxFetches) {
        throw new BerthError('EVALUATION_LIMIT', `The config fetches more than ${maxFetches} things.`, {
          details: { limit: 'fetches' },
        });
      }
      fetched.set(needed.key, await fetchDeclared(nix, needed, signal));
    } catch (error) {
      if (!(error instanceof BerthError) || error.code === 'CANCELLED') throw error;
      const { trace, unstable, log } = evaluation;
      return { ok: false, error, trace, unstable, log };
    }
  }
}

const maxFetches = 256;

async function evaluateOnce(
  dependencies: EvaluatorDependencies,
  request: EvaluateRequest,
  limits: EvaluationLimits,
  fetched: ReadonlyMap<string, Fetched>,
  signal?: AbortSignal,
): Promise<Evaluation & { readonly needed?: DeclaredFetch }> {
  const folder = await mkdtemp(join(dependencies.runFolder, 'evaluate-'));
  try {
    await mkdir(join(folder, 'in'));
    await mkdir(join(folder, 'out'));
    const startedNs = await writeRequest(join(folder, 'in/request.json'), request, fetched);

    const run = {
      folder,
      entry: 'evaluate.nix',
      directory: request.config.directory,
      lookup: [
        `nixpkgs=${treeOf(request.sources[request.defaultSource]) ?? `${inside.nix}/lookup`}`,
        ...Object.values(request.sources).flatMap(({ storePaths }) => storePaths),
        ...[...fetched.values()].map(fetchedPath),
      ],
      limits,
    };
    const result = await runTraced(dependencies, run, signal);
    const seen = await readTrace(join(folder, 'out/trace'), request);
    const variables = new Map(
      variablesAsked(result.stderr).map((name) => [name, request.passEnv?.[name] ?? null] as const),
    );
    const observed = traceOf({ seen, variables, startedNs });
    const log = withoutVariableLines(result.stderr);
    const outcome = outcomeOf(result, log, request, limits);
    if (!('error' in outcome)) {
      const written = await instantiate(dependencies, run, outcome.result.drvPath, signal);
      if (!written) return { ok: true, result: outcome.result, log, ...observed };
      const again = outcomeOf(written, withoutVariableLines(written.stderr), request, limits);
      if ('error' in again) return { ok: false, error: again.error, log, ...observed };
      // Not the same when a file was edited in between: then the trace is not of what was written.
      const unstable = observed.unstable || again.result.drvPath !== outcome.result.drvPath;
      return { ok: true, result: again.result, log, ...observed, unstable };
    }
    const own = ownError(log);
    const needed = own?.code === 'FETCH_NEEDED' ? declaredFetchSchema.safeParse(own).data : undefined;
    return { ok: false, error: outcome.error, log, ...observed, ...(needed ? { needed } : {}) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Evaluates without writing to the store: half the time, since a client of the store's daemon makes a thread for each
 * derivation that it writes, and each is traced. Nothing need be written for a config that means what it meant. What only
 * works with writing (a config that reads what it has just put into the store) is done again with it.
 */
async function runTraced(
  dependencies: EvaluatorDependencies,
  run: Omit<EvaluatorRun, 'mode'>,
  signal?: AbortSignal,
): Promise<ExecResult> {
  if (!dependencies.nix.settings.allowImportFromDerivation) {
    const result = await runEvaluator(dependencies, { ...run, mode: 'read' }, signal);
    const readsWritten = /is not valid|\/nix\/store\/.*(No such file|does not exist)/;
    if (result.code === 0 || ownError(result.stderr) !== undefined || !readsWritten.test(result.stderr)) return result;
  }
  return runEvaluator(dependencies, { ...run, mode: 'write' }, signal);
}

/** Writes the derivations of an evaluation. @returns how that ended; undefined when they are there */
async function instantiate(
  dependencies: EvaluatorDependencies,
  run: Omit<EvaluatorRun, 'mode'>,
  drvPath: string,
  signal?: AbortSignal,
): Promise<ExecResult | undefined> {
  if ((await dependencies.validPaths([drvPath])).length > 0) return undefined;
  return runEvaluator(dependencies, { ...run, mode: 'instantiate' }, signal);
}

/**
 * @returns the change time of the request's file: the start of the evaluation by the clock that files' change times come
 *   from
 */
async function writeRequest(
  file: string,
  request: EvaluateRequest,
  fetched: ReadonlyMap<string, Fetched>,
): Promise<bigint> {
  await writeFile(file, JSON.stringify({ ...requestForNix(request), fetched: Object.fromEntries(fetched) }));
  return (await stat(file, { bigint: true })).ctimeNs;
}

/** Removes what evaluations left behind when Berth was killed in the middle of one. */
export async function removeLeftovers(runFolder: string): Promise<void> {
  const names = await readdir(runFolder).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
  for (const name of names) {
    if (name.startsWith('evaluate-')) await rm(join(runFolder, name), { recursive: true, force: true });
  }
}

/** The request as nix/evaluate.nix reads it; also what a digest of the request is taken over. */
export function requestForNix(request: EvaluateRequest): Record<string, unknown> {
  return {
    config: request.config.file,
    directory: request.config.directory,
    shape: request.config.shape,
    system: request.system ?? hostSystem(),
    sources: Object.fromEntries(
      Object.entries(request.sources).map(([name, source]) => [name, { ...source.nix, kind: source.kind }]),
    ),
    defaultSource: request.defaultSource,
    packages: request.packages ?? {},
    passedVariables: request.passEnv ?? {},
    extraPackages: request.extraPackages ?? [],
    withNix: request.withNix ?? false,
    allowUnfree: request.allowUnfree ?? false,
  };
}

/** @returns the tree of files that `<nixpkgs>` can lead to, or undefined where the source is none */
function treeOf(source: PreparedSource | undefined): string | undefined {
  const path = source?.nix['path'];
  return source?.kind !== 'debian' && typeof path === 'string' ? path : undefined;
}

async function readTrace(file: string, request: EvaluateRequest): Promise<PathsSeen> {
  const { directory } = request.config;
  const counts = (path: string) => path === directory || path.startsWith(`${directory}/`);
  const seen = readStrace(await readFile(file, 'utf8'), counts);
  // Every evaluation asks for the folder itself, which the request names.
  seen.exists.delete(directory);
  return seen;
}

const variableLine = 'trace: berth-variable:';

function withoutVariableLines(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !line.startsWith(variableLine))
    .join('\n');
}

function variablesAsked(stderr: string): string[] {
  const names = new Set<string>();
  for (const line of stderr.split('\n')) {
    if (!line.startsWith(variableLine)) continue;
    try {
      names.add(String(JSON.parse(line.slice(variableLine.length))));
    } catch {
      // A config can print such a line itself; what is no name is nothing.
    }
  }
  return [...names];
}

function outcomeOf(
  result: ExecResult,
  log: string,
  request: EvaluateRequest,
  limits: EvaluationLimits,
): { result: EvaluatedConfig } | { error: BerthError } {
  const overLimit = (limit: string, message: string) => ({
    error: new BerthError('EVALUATION_LIMIT', message, { details: { limit } }),
  });
  const signalled = result.code !== null && result.code > 128 ? result.code - 128 : 0;
  if (result.ended === 'timeout' || signalled === 24) {
    return overLimit('time', `The evaluation took longer than ${String(limits.timeMs / 1000)} s.`);
  }
  if (result.ended === 'output' || signalled === 25) {
    return overLimit('output', `The evaluation printed more than ${String(limits.outputBytes)} bytes.`);
  }
  if (result.code !== 0) {
    const { file: configFile, directory } = request.config;
    if ((signalled === 6 || signalled === 9 || signalled === 11) && !log.includes('error:')) {
      return overLimit('memory', `The evaluation needed more than ${String(limits.memoryBytes)} bytes of memory.`);
    }
    const configText = existsSync(configFile) ? readFileSync(configFile, 'utf8') : '';
    return { error: evaluationError({ stderr: log, configFile, directory, configText }) };
  }
  const parsed = evaluatedConfigSchema.safeParse(parseJson(result.stdout));
  if (!parsed.success) {
    return {
      error: new BerthError('INTERNAL', 'The evaluation gave a result of the wrong form.', { cause: parsed.error }),
    };
  }
  return { result: parsed.data };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
