/** What both isolations share: Nix's realise, run where the sandbox says. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { exec, type ExecOptions } from '../core/exec.ts';
import type { NixProcess } from '../nix/nix-process.ts';
import { realise } from '../nix/realise.ts';
import { onLifeLine, withinLifeLine } from './life-line.ts';
import { workerView, type WorkerView } from './worker-view.ts';
import type { Worker } from './worker.ts';

export interface NixWorkerOptions {
  readonly nix: NixProcess;
  /** The worker's own folder; what a killed one left there is removed. */
  readonly folder: string;
  readonly number: number;
}

/** Makes a command run in a sandbox. */
export interface Isolation {
  readonly name: Worker['isolation'];
  /** Where the sandbox lets the daemon's commands in, in words: for errors. */
  readonly needs: string;
  /**
   * @param environment the command's variables
   * @returns the command that makes the sandbox and runs the other in it
   */
  enter(command: readonly string[], view: WorkerView, environment: Readonly<Record<string, string>>): Promise<string[]>;
  /** Removes what is left when the command has ended. */
  leave?(): Promise<void>;
}

export function createNixWorker(options: NixWorkerOptions, isolation: Isolation): Worker {
  const { nix, folder, number } = options;
  const temporary = join(folder, 'tmp');
  const numberFolder = join(folder, 'number');

  function clear(): void {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true, mode: 0o700 });
    mkdirSync(numberFolder, { recursive: true });
    writeFileSync(join(numberFolder, 'number'), '');
  }

  /** Nix's programs as they are run in the worker. */
  function within(cacheUrls: readonly string[]): NixProcess {
    return {
      ...nix,
      async run(program, args, runOptions: ExecOptions = {}) {
        nix.prepare();
        clear();
        const view = workerView(nix, temporary, cacheUrls);
        const mounts = [...view.mounts, { path: '/run/worker', source: numberFolder, readOnly: true }];
        const words = [...nix.programs.command(program), ...args, ...nix.storeArguments()];
        const environment = nix.environment('client');
        const entered = await isolation.enter(withinLifeLine(words), { ...view, mounts }, environment);
        const [outermost = 'sh', ...rest] = onLifeLine(entered, join(numberFolder, 'number'));
        try {
          const result = await exec(outermost, rest, { env: environment, graceMs: 10_000, ...runOptions });
          if (result.ended === undefined && isKilled(result)) {
            throw new BerthError(
              'WORKER_DIED',
              `Worker ${number} (${isolation.name}) was killed in the middle of its work.`,
              {
                details: { worker: number, isolation: isolation.name },
              },
            );
          }
          if (result.code !== 0 && !result.stderr.includes('@nix ') && isolationFailed(result.stderr)) {
            throw new BerthError(
              'WORKER_DIED',
              `The sandbox of a worker could not be made: ${lastLine(result.stderr)}.`,
              {
                hint: isolation.needs,
                details: { worker: number, isolation: isolation.name },
              },
            );
          }
          return result;
        } finally {
          await isolation.leave?.();
          rmSync(temporary, { recursive: true, force: true });
        }
      },
    };
  }

  return {
    isolation: isolation.name,
    number,
    run(task, context) {
      const caches = task.caches ?? [];
      return realise(within(caches.map(({ url }) => url)), task.paths, {
        caches,
        emit: context.emit,
        ...(task.rootLink === undefined ? {} : { rootLink: task.rootLink }),
        ...(context.signal ? { signal: context.signal } : {}),
        ...(context.logFile === undefined ? {} : { logFile: context.logFile }),
      });
    },
  };
}

/** By SIGKILL, itself or what it waited for; a shell says that as 128 and the signal's number. */
function isKilled({ code, signal }: { readonly code: number | null; readonly signal: NodeJS.Signals | null }): boolean {
  return signal !== null || code === 137 || code === 143;
}

function isolationFailed(stderr: string): boolean {
  return /^(bwrap|unshare|setpriv|sh|crun|runc)\b|level=error/m.test(stderr);
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
