/** Runs one of Berth's Nix files in the evaluation's sandbox. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { exec, type ExecResult } from '../core/exec.ts';
import { inside, sandboxArguments, type EvaluationLimits } from './evaluation-sandbox.ts';
import type { NixDaemon } from './nix-daemon.ts';
import type { NixProcess } from './nix-process.ts';
import { physicalStoreDirectory } from './store.ts';

export interface EvaluatorDependencies {
  readonly nix: NixProcess;
  /** What the evaluation writes derivations and sources by. */
  readonly daemon: Pick<NixDaemon, 'socket' | 'ensure'>;
  /** Berth's own `nix` folder. */
  readonly nixFolder: string;
  /** A folder of Berth's for what lives as long as one evaluation. */
  readonly runFolder: string;
  readonly limits?: Partial<EvaluationLimits>;
  /** Those of the paths that are valid in the store. */
  readonly validPaths: (paths: readonly string[]) => Promise<readonly string[]>;
}

/**
 * What an evaluation does to the store. `read`: nothing; it tells what derivations there would be. `write`: it writes them.
 * `instantiate`: it writes them and is not traced, since an evaluation that read only was.
 */
export type EvaluationMode = 'read' | 'write' | 'instantiate';

export interface EvaluatorRun {
  /** Holds in/request.json and the empty folder out, in which the trace will be. */
  readonly folder: string;
  /** A file of Berth's `nix` folder. */
  readonly entry: string;
  /** The project's folder; null for what needs none. */
  readonly directory: string | null;
  /** What else the evaluation may read, as Nix's -I options say it. */
  readonly lookup: readonly string[];
  readonly limits: EvaluationLimits;
  readonly mode: EvaluationMode;
}

/** Makes the folders and starts the daemon that an evaluation needs. */
export async function prepareToEvaluate(dependencies: EvaluatorDependencies): Promise<void> {
  await mkdir(physicalStoreDirectory(dependencies.nix.store), { recursive: true });
  await mkdir(dependencies.runFolder, { recursive: true });
  await dependencies.daemon.ensure();
}

/**
 * @returns how it ended; the trace is in the folder's out/trace
 * @throws BerthError TOOL_MISSING when bwrap, strace or Nix could not be started, CANCELLED
 */
export async function runEvaluator(
  dependencies: EvaluatorDependencies,
  run: EvaluatorRun,
  signal?: AbortSignal,
): Promise<ExecResult> {
  const { nix, daemon, nixFolder } = dependencies;
  const { directory, limits } = run;
  const lookup = [
    `berth-request=${inside.input}/request.json`,
    `berth=${inside.nix}`,
    ...run.lookup,
    ...(directory === null ? [] : [directory]),
  ];
  const { NIX_CONFIG = '' } = nix.environment('evaluator');
  const args = sandboxArguments({
    directory,
    nixFolder,
    inputFolder: join(run.folder, 'in'),
    outputFolder: join(run.folder, 'out'),
    storeFolder: physicalStoreDirectory(nix.store),
    socket: daemon.socket,
    needs: nix.programs.needs,
    environment: {
      PATH: '/usr/bin:/bin',
      HOME: '/homeless',
      NIX_CONFIG,
      NIX_CONF_DIR: '/homeless',
      NIX_REMOTE: `unix://${inside.socket}`,
    },
    limits,
    traced: run.mode !== 'instantiate',
    command: [
      ...nix.programs.command('nix-instantiate'),
      ...['--eval', '--strict', '--json', '--show-trace'],
      ...(run.mode === 'read' ? [] : ['--read-write-mode']),
      ...lookup.flatMap((path) => ['-I', path]),
      `${inside.nix}/${run.entry}`,
    ],
  });
  const result = await exec('bwrap', args, {
    env: { PATH: nix.environment('client').PATH ?? '/usr/bin:/bin' },
    timeoutMs: limits.timeMs,
    maxOutputBytes: limits.outputBytes,
    ...(signal ? { signal } : {}),
  });
  if (run.mode !== 'instantiate' && !existsSync(join(run.folder, 'out/trace'))) throw toolError(result);
  return result;
}

// Nothing was traced, so the tools themselves failed.
function toolError(result: ExecResult): BerthError {
  const last = result.stderr.trim().split('\n').at(-1) ?? '';
  if (/strace/.test(result.stderr)) {
    return new BerthError('TOOL_MISSING', `strace could not trace the evaluation: ${last}.`, {
      hint: 'Install strace, and allow ptrace where it is forbidden (kernel.yama.ptrace_scope, or a container without it).',
    });
  }
  return new BerthError(
    'TOOL_MISSING',
    `The sandbox of the evaluation could not be made: ${last || 'bwrap said nothing'}.`,
    {
      hint: 'Install bubblewrap, and allow user namespaces for ordinary users.',
    },
  );
}
