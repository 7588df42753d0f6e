/**
 * `nix-daemon` over the store as a child process: evaluations in the sandbox, and Nix within containers, write to the
 * store through it and through nothing else. It trusts nobody (`trusted-users =`), not even root, so a client can
 * neither choose substituters nor add unsigned paths.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { sleep } from '../core/clock.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import type { NixProcess } from './nix-process.ts';

/** A running nix-daemon. Stopped by stop(), or with this process. */
export class NixDaemon {
  /** The socket that clients connect to: NIX_REMOTE=unix://PATH. */
  readonly socket: string;
  readonly #nix: NixProcess;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #starting: Promise<void> | undefined;
  #stopped = false;

  /**
   * @param folder the socket's own folder, short enough for a socket's path (107 bytes); made when it is not there
   */
  constructor(nix: NixProcess, folder: string) {
    this.#nix = nix;
    this.#folder = folder;
    this.socket = join(folder, 'socket');
    if (Buffer.byteLength(this.socket) > 107) {
      throw new BerthError('SETTING_INVALID', `The path ${this.socket} is too long for a socket.`, {
        hint: 'Choose a shorter $BERTH_HOME.',
      });
    }
  }

  /**
   * Starts the daemon unless it runs, and again when it has ended; resolves when it answers.
   * @throws BerthError TOOL_MISSING, INTERNAL
   */
  async ensure(): Promise<void> {
    // One that is being started does not answer yet.
    const runs = this.#child && this.#child.exitCode === null && this.#child.signalCode === null;
    if (runs && this.#starting === undefined) return;
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined));
    await this.#starting;
  }

  /** The daemon's process, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Ends the daemon and what it builds. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting?.catch(() => undefined);
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      killGroup(child.pid, 'SIGTERM');
      const timer = setTimeout(() => child.pid !== undefined && killGroup(child.pid, 'SIGKILL'), 2000);
      await ended;
      clearTimeout(timer);
    }
    await rm(this.socket, { force: true });
  }

  async #start(): Promise<void> {
    if (this.#stopped) throw new BerthError('INTERNAL', 'The Nix daemon was stopped.');
    this.#nix.prepare();
    await mkdir(this.#folder, { recursive: true });
    await rm(this.socket, { force: true });
    const [program = 'nix-daemon', ...words] = this.#nix.command('nix-daemon');
    // It ends with this process, however that ends.
    const args = ['--pdeathsig', 'TERM', '--', program, ...words, ...this.#nix.storeArguments()];
    const child = spawn('setpriv', args, {
      env: { ...this.#nix.environment('daemon'), NIX_DAEMON_SOCKET_PATH: this.socket },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    this.#child = child;
    let output = '';
    let failure: Error | undefined;
    child.on('error', (error) => (failure = error));
    child.stderr.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-2000)));
    child.unref();
    (child.stderr as { unref?: () => void }).unref?.();

    for (let waited = 0; waited < 10_000; waited += 10) {
      if (isErrno(failure, 'ENOENT')) {
        throw new BerthError('TOOL_MISSING', 'The program `setpriv` (util-linux) is not installed.', {
          cause: failure,
        });
      }
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new BerthError('INTERNAL', `The Nix daemon did not start: ${output.trim() || 'it printed nothing'}`);
      }
      if (await answers(this.socket)) return;
      await sleep(10);
    }
    killGroup(child.pid ?? 0, 'SIGKILL');
    throw new BerthError('INTERNAL', 'The Nix daemon did not answer within 10 seconds.');
  }
}

async function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}
