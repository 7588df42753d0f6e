/** Evaluates several configs of one source in one run of the evaluator: what each means, and the rules of the source debian. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import { evaluatedConfigSchema, type EvaluatedConfig } from './evaluated-config.ts';
import { evaluationError } from './evaluation-errors.ts';
import { defaultLimits, inside, type EvaluationLimits } from './evaluation-sandbox.ts';
import type { PreparedSource } from './prepared-source.ts';
import { prepareToEvaluate, runEvaluator, type EvaluatorDependencies } from './run-evaluator.ts';

/** What nix/debian does by rules that are data: see nix/plain.nix. */
export const debianRulesSchema = z.strictObject({
  /** Packages of every view, those that the suite has. */
  base: z.array(z.string()),
  /** What comes with a package though nothing says that it depends on it. */
  companions: z.record(z.string(), z.array(z.string())),
  /** Packages whose presence keeps translations in a view. */
  locales: z.array(z.string()),
  /** Packages that are in no closure unless a config names them. */
  scriptsOnly: z.array(z.string()),
  /** Names of `pkgs` that are not just the Debian package of that name: its members, or null for what is no package. */
  names: z.record(z.string(), z.array(z.string()).nullable()),
});

export type DebianRules = z.infer<typeof debianRulesSchema>;

const resultSchema = z.strictObject({
  evaluated: z.array(evaluatedConfigSchema.nullable()),
  rules: debianRulesSchema.nullable(),
});

export interface TogetherRequest {
  /** What `pkgs` is. */
  readonly source: PreparedSource;
  /** Texts of configs that read no file. */
  readonly configs: readonly string[];
  readonly rules: boolean;
  readonly system: string;
  readonly allowUnfree: boolean;
  /** Whether the configs' derivations are written to the store. */
  readonly write: boolean;
  readonly limits?: Partial<EvaluationLimits>;
}

export interface EvaluatedTogether {
  /** In the configs' order; null where a config has a fault that Nix code can catch. */
  readonly evaluated: readonly (EvaluatedConfig | null)[];
  readonly rules: DebianRules | null;
}

/**
 * @throws BerthError whatever the first config that has another fault is at fault for, TOOL_MISSING, CANCELLED, INTERNAL
 */
export async function evaluateTogether(
  dependencies: EvaluatorDependencies,
  request: TogetherRequest,
  signal?: AbortSignal,
): Promise<EvaluatedTogether> {
  await prepareToEvaluate(dependencies);
  const folder = await mkdtemp(join(dependencies.runFolder, 'evaluate-'));
  try {
    await mkdir(join(folder, 'in'));
    await mkdir(join(folder, 'out'));
    const configs: string[] = [];
    for (const [index, text] of request.configs.entries()) {
      await writeFile(join(folder, 'in', `config-${index}.nix`), text);
      configs.push(`${inside.input}/config-${index}.nix`);
    }
    const { source, rules, system, allowUnfree } = request;
    const told = {
      directory: inside.input,
      shape: 'nix',
      system,
      sources: { pkgs: { ...source.nix, kind: source.kind } },
      defaultSource: 'pkgs',
      passedVariables: {},
      extraPackages: [],
      withNix: false,
      allowUnfree,
      configs,
      rules,
    };
    await writeFile(join(folder, 'in/request.json'), JSON.stringify(told));
    const result = await runEvaluator(
      dependencies,
      {
        folder,
        entry: 'plain.nix',
        directory: null,
        lookup: [`nixpkgs=${inside.nix}/lookup`, inside.input, ...source.storePaths],
        limits: { ...defaultLimits, ...dependencies.limits, ...request.limits },
        // What Berth itself wrote needs no tracer.
        mode: request.write ? 'instantiate' : 'read',
      },
      signal,
    );
    if (result.code !== 0) {
      throw evaluationError({ stderr: result.stderr, configFile: '', configText: '', directory: '' });
    }
    return resultSchema.parse(JSON.parse(result.stdout));
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) {
      throw new BerthError('INTERNAL', 'The evaluation of several configs gave a result of the wrong form.', {
        cause: error,
      });
    }
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
