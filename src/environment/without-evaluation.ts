/**
 * A path without evaluation: the evaluator, wrapped, so that it need not run for configs that only list packages. Those of a
 * Debian suite are worked out from its index; of any source, a list that was evaluated before under the same revision means
 * what it meant, in whatever project and order. What can't be told for sure goes to the evaluator as it always did.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPlainConfig, type PlainConfig, type PlainSource } from '../config/plain-config.ts';
import { digestOfJson, type Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno, readTextIfThere, writeFileAtomically } from '../core/files.ts';
import { evaluatedConfigSchema, type EvaluatedConfig } from '../nix/evaluated-config.ts';
import { hostSystem, type EvaluateRequest, type Evaluation } from '../nix/evaluate.ts';
import type { Nix } from '../nix/nix.ts';
import { checkTrace } from '../nix/observe.ts';
import type { PreparedSource } from '../nix/prepared-source.ts';
import { observeFiles } from '../nix/trace-of.ts';
import type { ComposedEnvironment, PlainMeaning } from '../sources/debian/plain/compose.ts';
import type { DebianPlain, OpenedIndex } from '../sources/debian/plain/plain.ts';
import type { BuildStep } from './build-step.ts';

export interface WithoutEvaluationOptions {
  readonly nix: Pick<Nix, 'evaluate' | 'validPaths' | 'addDerivations' | 'codeDigest'>;
  readonly debian: DebianPlain;
  /** Where it is kept what lists meant. */
  readonly folder: string;
  /** What is built already needs nothing of the store. */
  readonly reachable: BuildStep['reachable'];
}

/** @returns `nix.evaluate`, which now evaluates only what it must. For a list of names without a config: evaluate-names.ts */
export function createWithoutEvaluation(options: WithoutEvaluationOptions): Pick<Nix, 'evaluate'> {
  const { nix, debian } = options;

  async function parsed(request: EvaluateRequest, signal?: AbortSignal): Promise<Evaluation | undefined> {
    const read = readRequest(request);
    if (!read) return undefined;
    const { meaning, source, trace } = read;
    const result =
      source.kind === 'debian'
        ? await worksOut(request, meaning, source, signal)
        : await remembered(keyOf(request, read));
    if (!result || !checkTrace(trace).same) return undefined;
    return { ok: true, result, trace, unstable: false, log: '', how: 'parsed' };
  }

  async function worksOut(
    request: EvaluateRequest,
    meaning: PlainMeaning,
    source: PreparedSource,
    signal?: AbortSignal,
  ): Promise<EvaluatedConfig | undefined> {
    try {
      const index = await debian.open({ source, ...settingsOf(request) }, signal);
      const composed = index?.compose(meaning);
      if (!index || !composed) return undefined;
      if (options.reachable(composed.evaluated) === undefined) await write(composed, index, signal);
      return composed.evaluated;
    } catch (error) {
      // What went wrong here goes wrong in the evaluation too, which says it in the config's own terms.
      if (signal?.aborted || (error instanceof BerthError && error.code === 'CANCELLED')) throw error;
      return undefined;
    }
  }

  /** Writes those of the derivations that the store has not, each after its inputs. */
  async function write({ environment, view, members }: ComposedEnvironment, index: OpenedIndex, signal?: AbortSignal) {
    const top = new Set(await nix.validPaths([environment.drvPath, view.drvPath]));
    if (top.has(environment.drvPath)) return;
    if (top.has(view.drvPath)) return nix.addDerivations([environment], signal);
    const valid = new Set<string>(
      await nix.validPaths(members.flatMap(({ drvPath, fetchDrvPath }) => [drvPath, fetchDrvPath])),
    );
    const missing = members
      .filter(({ drvPath }) => !valid.has(drvPath))
      .flatMap(({ name }) => [...index.packages.write(name)])
      .filter(({ drvPath }) => !valid.has(drvPath));
    return nix.addDerivations([...missing, view, environment], signal);
  }

  function keyOf(request: EvaluateRequest, { meaning, source }: ReadRequest): Digest {
    const { packages, ...rest } = meaning;
    return digestOfJson({
      code: nix.codeDigest(),
      kind: source.kind,
      source: source.nix,
      ...settingsOf(request),
      ...rest,
      packages: [...packages].sort(),
    });
  }

  const fileOf = (key: Digest) => join(options.folder, `${key.slice('sha256:'.length)}.json`);

  async function remembered(key: Digest): Promise<EvaluatedConfig | undefined> {
    const text = await readTextIfThere(fileOf(key));
    const kept = text === undefined ? undefined : parse(text);
    return kept && options.reachable(kept) !== undefined ? kept : undefined;
  }

  return {
    async evaluate(request, signal) {
      const known = await parsed(request, signal);
      if (known) return known;
      const evaluation = await nix.evaluate(request, signal);
      const read = readRequest(request);
      // One that read more than the config (an overlay, a variable) depends on more than what is in the key.
      if (
        evaluation.ok &&
        !evaluation.unstable &&
        read &&
        read.source.kind !== 'debian' &&
        evaluation.trace.length === 1
      ) {
        const [only] = evaluation.trace;
        const [ours] = read.trace;
        if (only?.kind === 'file' && ours?.kind === 'file' && only.digest === ours.digest) {
          await writeFileAtomically(fileOf(keyOf(request, read)), JSON.stringify(evaluation.result));
        }
      }
      return evaluation;
    },
  };
}

interface ReadRequest {
  readonly meaning: PlainMeaning;
  readonly source: PreparedSource;
  readonly trace: Evaluation['trace'];
}

function settingsOf(request: EvaluateRequest) {
  return { system: request.system ?? hostSystem(), allowUnfree: request.allowUnfree ?? false };
}

/** @returns what the request's config means, as far as it can be read without Nix, and what was read for that */
function readRequest(request: EvaluateRequest): ReadRequest | undefined {
  const { file, shape } = request.config;
  if (shape !== 'nix' || request.withNix || (request.extraPackages ?? []).length > 0) return undefined;
  const trace = observeFiles([file]);
  const text = readOwnFile(file);
  const config = text === undefined ? undefined : readPlainConfig(text);
  const source = config && sourceOf(config, request);
  if (!config || !source) return undefined;
  const { packages, ...rest } = config;
  return { meaning: { ...rest, packages: packages.map(({ name }) => name) }, source, trace };
}

/** A link may lead out of the project, where the evaluator would not follow. */
function readOwnFile(file: string): string | undefined {
  try {
    return lstatSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined;
    throw error;
  }
}

/** @returns the one source that all packages are of, when it is also the one whose shell they would be in */
function sourceOf(config: PlainConfig, request: EvaluateRequest): PreparedSource | undefined {
  const byDefault = request.sources[request.defaultSource];
  const named = (name: PlainSource) => {
    if (name === 'pkgs') return byDefault;
    return request.sources[name] ?? (byDefault?.kind === name ? byDefault : undefined);
  };
  const [source, ...others] = new Set(config.packages.map((it) => named(it.source)));
  if (!source || others.length > 0) return undefined;
  return source === (source.kind === 'debian' ? named('debian') : byDefault) ? source : undefined;
}

function parse(text: string): EvaluatedConfig | undefined {
  try {
    return evaluatedConfigSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
