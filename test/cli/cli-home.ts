/** A home of its own for tests of the command, and the command itself as people call it: bin/berth. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { until } from '../support/until.ts';

export { until };

export const root = join(import.meta.dirname, '../..');

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
}

export interface CliHome {
  readonly home: string;
  readonly socket: string;
  readonly log: string;
  /** Runs the command to its end. */
  berth(args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Starts the command. */
  start(args: readonly string[], options?: RunOptions): { child: ChildProcess; outcome: Promise<Outcome> };
  /** @returns the daemon's process id, or undefined where none runs */
  daemonPid(): number | undefined;
  /** Asks the API over the socket. */
  get(path: string): Promise<{ status: number; body: unknown }>;
  /** Ends the daemon and removes the home. */
  close(): Promise<void>;
}

/** Builds dist/ when a source is newer than it. */
export function buildIfStale(): void {
  execFileSync(process.execPath, [join(root, 'scripts/build.mjs'), '--if-stale'], { stdio: 'inherit' });
}

export function createCliHome(): CliHome {
  // A short path, since unix sockets lie in it.
  const home = mkdtempSync('/tmp/berth-cli-');
  const socket = join(home, 'run/daemon.sock');
  const env = { PATH: process.env.PATH ?? '', HOME: home, BERTH_HOME: home, NO_COLOR: '1' };

  const start: CliHome['start'] = (args, options = {}) => {
    const child = spawn(join(root, 'bin/berth'), args, {
      cwd: options.cwd ?? home,
      env: { ...env, ...options.env },
      stdio: 'pipe',
    });
    const collected = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (collected.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (collected.stderr += text));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    const outcome = once(child, 'close').then(([code, signal]): Outcome => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      ...collected,
    }));
    return { child, outcome };
  };
  const daemonPid = (): number | undefined => {
    const file = join(home, 'run/daemon.pid');
    if (!existsSync(file)) return undefined;
    const pid = Number(readFileSync(file, 'utf8'));
    return isAlive(pid) ? pid : undefined;
  };

  return {
    home,
    socket,
    log: join(home, 'log/daemon.log'),
    start,
    berth: (args, options) => start(args, options).outcome,
    daemonPid,
    get: (path) =>
      new Promise((resolve, reject) => {
        const outgoing = request({ socketPath: socket, path, agent: false }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => (text += part));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }));
        });
        outgoing.on('error', reject);
        outgoing.end();
      }),
    async close() {
      const pid = daemonPid();
      if (pid !== undefined) {
        process.kill(pid, 'SIGTERM');
        await until(() => !isAlive(pid), 15_000);
      }
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Resolves with the command's first output; rejects when it ends without any. */
export async function firstOutput({ child, outcome }: ReturnType<CliHome['start']>): Promise<string> {
  const ended = outcome.then(({ code, stdout, stderr }): string => {
    if (stdout !== '') return stdout;
    throw new Error(`The command ended with ${code ?? 'a signal'} and without output: ${stderr}`);
  });
  const first = once(child.stdout!, 'data').then(([text]) => text as string);
  return Promise.race([first, ended]);
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie has ended, whoever has yet to collect it.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
