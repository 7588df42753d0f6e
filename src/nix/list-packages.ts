/** Asks a source that is a tree of Nix files which packages it has. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import type { PreparedSource } from './prepared-source.ts';
import { hostSystem } from './host-system.ts';
import { evaluationError } from './evaluation-errors.ts';
import { prepareToEvaluate, runEvaluator, type EvaluatorDependencies } from './run-evaluator.ts';

const listedPackagesSchema = z.array(
  z.strictObject({ name: z.string(), version: z.string(), description: z.string() }),
);

export type ListedPackage = z.infer<typeof listedPackagesSchema>[number];

// nixpkgs as a whole, with the description of each package, takes about 2 GB and half a minute.
const limits = { timeMs: 600_000, memoryBytes: 12 * 1024 ** 3, outputBytes: 256 * 1024 ** 2 };

/**
 * @param options namesOnly: only the top level's names, without looking at the packages: seconds instead of a minute
 * @throws BerthError CONFIG_EVALUATION when the source can't be evaluated, TOOL_MISSING, CANCELLED
 */
export async function listPackages(
  dependencies: EvaluatorDependencies,
  source: PreparedSource,
  options: { readonly namesOnly: boolean; readonly signal?: AbortSignal },
): Promise<ListedPackage[]> {
  await prepareToEvaluate(dependencies);
  const folder = await mkdtemp(join(dependencies.runFolder, 'evaluate-'));
  try {
    await mkdir(join(folder, 'in'));
    await mkdir(join(folder, 'out'));
    const request = {
      directory: '/',
      system: hostSystem(),
      sources: { pkgs: { ...source.nix, kind: source.kind } },
      defaultSource: 'pkgs',
      allowUnfree: true,
      namesOnly: options.namesOnly,
    };
    await writeFile(join(folder, 'in/request.json'), JSON.stringify(request));
    const lookup = source.storePaths;
    const run = { folder, entry: 'list-packages.nix', directory: null, lookup, limits, mode: 'read' } as const;
    const result = await runEvaluator(dependencies, run, options.signal);
    if (result.code !== 0) {
      throw evaluationError({ stderr: result.stderr, configFile: '', configText: '', directory: '' });
    }
    return listedPackagesSchema.parse(JSON.parse(result.stdout));
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) {
      throw new BerthError('INTERNAL', 'The list of packages has the wrong form.', { cause: error });
    }
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
