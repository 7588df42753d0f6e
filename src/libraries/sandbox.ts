/**
 * Where a manager's install runs: bubblewrap's namespaces with the environment's own programs, a folder to work in, and
 * either no network at all or a loopback on which the proxy listens. Nothing of the host is in it: no home, no secrets.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { physicalPath, physicalStoreDirectory, type Store, type StorePath } from '../nix/store.ts';
import type { InstallCommand } from './library.ts';

/** What an install needs of an environment. */
export interface InstallEnvironment {
  readonly fhs: StorePath | null;
  readonly variables: Readonly<Record<string, string>>;
}

export interface SandboxOptions {
  readonly store: Store;
  readonly environment: InstallEnvironment;
  /** Folder on the host where the lock lies, writable in the sandbox. */
  readonly workFolder: string;
  /** Where it is in the sandbox. */
  readonly workTarget: string;
  /** Other folders, by their path in the sandbox. */
  readonly folders?: Readonly<Record<string, { readonly source: string; readonly readOnly: boolean }>>;
  /** A static busybox: /bin/sh where the environment brings none. */
  readonly busybox: string;
  /** PATH of the host, to find bwrap and nsenter. */
  readonly hostPath: string;
}

export interface RunOptions {
  /** Absent: no network. Called with a server that listens on the sandbox's loopback; the port is its address'. */
  readonly network?: (listening: Server) => void;
  /** Variables that depend on the proxy's port. */
  readonly variables?: (port: number | undefined) => Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface RunResult {
  readonly code: number | null;
  /** The last lines of stdout and stderr. */
  readonly tail: readonly string[];
  readonly stdout: string;
}

const keptLines = 60;
const maxStdout = 1024 * 1024;
/** The proxy's port in the sandbox: its network is its own, so any is free. */
const proxyPort = 3128;

/** @throws BerthError TOOL_MISSING, CANCELLED, LIBRARY_INSTALL_TIMEOUT, INTERNAL when the sandbox itself can't be made */
export async function runInSandbox(
  command: InstallCommand,
  options: SandboxOptions,
  run: RunOptions,
): Promise<RunResult> {
  if (run.signal?.aborted) throw new BerthError('CANCELLED', 'The install was cancelled.');
  const variables = {
    ...options.environment.variables,
    HOME: '/tmp/home',
    TMPDIR: '/tmp',
    ...run.variables?.(run.network ? proxyPort : undefined),
    ...command.env,
  };
  const args = [...sandboxArguments(options, variables), '--info-fd', '3', '--block-fd', '4', '--', ...command.argv];
  const child = spawn('bwrap', args, {
    env: { PATH: options.hostPath },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const stdio = child.stdio as unknown as [null, Readable, Readable, Readable, Writable];
  const [, stdout, stderr, info, block] = stdio;
  // A sandbox that could not be made closes its end first; its exit tells.
  block.on('error', () => undefined);
  let listening: Server | undefined;
  let ended: 'timeout' | 'cancelled' | undefined;
  const kill = (reason: 'timeout' | 'cancelled') => {
    ended ??= reason;
    // Only once there is an inside: bubblewrap killed before that would leave one that waits for ever.
    void inside.then((pid) => {
      if (pid !== undefined) killProcess(pid);
      killGroup(child);
    });
  };
  const exit = exitOf(child);
  const inside = childPid(info);
  exit.catch(() => undefined);
  const onAbort = () => kill('cancelled');
  run.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => kill('timeout'), run.timeoutMs);
  const output = collect(stdout, stderr, run.onLine);
  try {
    if (run.network) {
      const pid = await inside;
      if (pid !== undefined && ended === undefined) {
        listening = await listenInNetwork(pid, options.hostPath);
        run.network(listening);
      }
    }
    block.end('x');
    const code = await exit;
    if (ended === 'cancelled') throw new BerthError('CANCELLED', 'The install was cancelled.');
    if (ended === 'timeout') {
      throw new BerthError('LIBRARY_INSTALL_TIMEOUT', `\`${command.argv.join(' ')}\` took more than its time.`);
    }
    return { code, ...output() };
  } finally {
    clearTimeout(timer);
    run.signal?.removeEventListener('abort', onAbort);
    listening?.close();
    // A sandbox that is still there has no use any more, whatever went wrong.
    if (child.exitCode === null && child.signalCode === null) {
      const pid = await inside;
      if (pid !== undefined) killProcess(pid);
      killGroup(child);
    }
  }
}

function sandboxArguments(options: SandboxOptions, variables: Readonly<Record<string, string>>): string[] {
  const { environment, store } = options;
  return [
    ...[
      '--unshare-all',
      '--die-with-parent',
      '--new-session',
      '--cap-drop',
      'ALL',
      '--hostname',
      'berth',
      '--clearenv',
    ],
    ...Object.entries(variables).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--tmpfs', '/', '--dir', '/nix', '--ro-bind', physicalStoreDirectory(store), '/nix/store'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--dir', '/tmp/home', '--dir', '/etc', '--dir', '/root'],
    ...['--ro-bind', options.busybox, '/berth/bin/busybox'],
    ...(environment.fhs === null ? busyboxArguments : viewArguments(store, environment.fhs)),
    ...['--bind', options.workFolder, options.workTarget, '--chdir', options.workTarget],
    ...Object.entries(options.folders ?? {}).flatMap(([target, { source, readOnly }]) => [
      readOnly ? '--ro-bind' : '--bind',
      source,
      target,
    ]),
  ];
}

/** /usr, /bin, /lib and the view's files of /etc, as in a berth. */
function viewArguments(store: Store, fhs: StorePath): string[] {
  const etc = readdirIfThere(join(physicalPath(store, fhs), 'etc'));
  return [
    ...['--dir', '/run/berth', '--symlink', fhs, '/run/berth/fhs', '--symlink', 'run/berth/fhs/usr', '/usr'],
    ...['bin', 'sbin', 'lib', 'lib64'].flatMap((name) => ['--symlink', `usr/${name}`, `/${name}`]),
    ...etc.flatMap((name) => ['--symlink', `/run/berth/fhs/etc/${name}`, `/etc/${name}`]),
  ];
}

const busyboxArguments = [
  ...['--dir', '/bin', '--symlink', '/berth/bin/busybox', '/bin/sh'],
  ...['--dir', '/usr/bin', '--symlink', '/berth/bin/busybox', '/usr/bin/env'],
];

function readdirIfThere(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** bwrap says the number of the process that waits in the new namespaces; what it says then must be read too. */
function childPid(info: Readable): Promise<number | undefined> {
  let said = '';
  return new Promise((resolve) => {
    info.on('data', (piece: Buffer) => {
      said += piece.toString('utf8');
      const pid = /"child-pid":\s*(\d+)\D/.exec(said)?.[1];
      if (pid !== undefined) resolve(Number(pid));
    });
    info.on('close', () => resolve(undefined));
    info.on('error', () => resolve(undefined));
  });
}

/** A short program that listens in the network it is started in, and hands the socket over. */
const listener = `
const server = require('node:net').createServer({ pauseOnConnect: true });
process.on('disconnect', () => process.exit(0));
server.listen(${proxyPort}, '127.0.0.1', () => process.send('listening', server));
`;

/** A socket stays in the network that it was made in, so this process can serve there without being in it. */
async function listenInNetwork(pid: number, hostPath: string): Promise<Server> {
  const into = process.getuid?.() === 0 ? ['--net'] : ['--user', '--preserve-credentials', '--net'];
  const child = spawn('nsenter', ['--target', String(pid), ...into, process.execPath, '-e', listener], {
    env: { PATH: hostPath },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  child.stderr?.on('data', (piece: Buffer) => (said += piece.toString('utf8')));
  const message = once(child, 'message') as Promise<[unknown, Server | undefined]>;
  const failed = once(child, 'exit').then(() => undefined);
  const [, server] = (await Promise.race([message, failed])) ?? [];
  // It stays until the socket is here: what a process that has ended sent may not arrive.
  if (child.connected) child.disconnect();
  if (!server) throw new BerthError('INTERNAL', `No socket could be made in the install's network: ${said.trim()}`);
  return server;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        isErrno(error, 'ENOENT') ? new BerthError('TOOL_MISSING', 'The program `bwrap` is not installed.') : error,
      ),
    );
    child.once('close', (code) => resolve(code));
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** The first process of the sandbox: the kernel ends the others with it. */
function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

function collect(stdout: Readable, stderr: Readable, onLine?: (line: string) => void) {
  const tail: string[] = [];
  let whole = '';
  for (const stream of [stdout, stderr]) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (piece: string) => {
      if (stream === stdout && whole.length < maxStdout) whole += piece;
      const lines = (rest + piece).split('\n');
      rest = (lines.pop() ?? '').slice(-4096);
      for (const line of lines) add(line);
    });
    stream.on('end', () => {
      if (rest !== '') add(rest);
    });
  }
  function add(line: string): void {
    tail.push(line);
    if (tail.length > keptLines) tail.shift();
    onLine?.(line);
  }
  return () => ({ tail, stdout: whole });
}
