/** A command in a berth, joined to this process's terminal or streams. */
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execInBerth, type Execution, type ExitStatus } from '../engine/agent/agent-client.ts';
import type { CommandContext } from './context.ts';

export interface SessionRequest {
  readonly agentSocket: string;
  /** Empty: a shell. */
  readonly argv: readonly string[];
  readonly cwd?: string;
  readonly variables?: Readonly<Record<string, string>>;
  /** Whether to have a terminal in the berth. Default: when stdin and stdout are one. */
  readonly terminal?: boolean;
}

export interface CapturedSession {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Signals that are passed on to the command, which decides what they mean. */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * Runs the command with this process's own streams.
 * @returns the exit code: the command's own, or 128 and the signal's number, as a shell says it
 */
export async function runSession(context: CommandContext, request: SessionRequest): Promise<number> {
  const terminal = request.terminal ?? (context.stdin.isTTY && context.stdout.isTTY);
  const execution = terminal
    ? await start(
        { ...request, variables: { TERM: context.env['TERM'] || 'dumb', ...request.variables } },
        size(context.stdout),
      )
    : await start(request, undefined);
  const release = terminal ? attachTerminal(context, execution) : forwardSignals(execution);
  const unpipe = attachStdin(context, execution);
  try {
    const output = Promise.all([copy(execution.stdout, context.stdout), copy(execution.stderr, context.stderr)]);
    const status = await execution.exit;
    await output;
    return exitCodeOf(status);
  } finally {
    unpipe();
    release();
  }
}

/** Runs the command with its output collected, for `--json`. */
export async function captureSession(context: CommandContext, request: SessionRequest): Promise<CapturedSession> {
  const execution = await start(request, undefined);
  const release = forwardSignals(execution);
  const unpipe = attachStdin(context, execution);
  try {
    const [stdout, stderr, status] = await Promise.all([
      collect(execution.stdout),
      collect(execution.stderr),
      execution.exit,
    ]);
    return { exitCode: exitCodeOf(status), stdout, stderr };
  } finally {
    unpipe();
    release();
  }
}

function start(request: SessionRequest, tty: { columns: number; rows: number } | undefined): Promise<Execution> {
  return execInBerth(request.agentSocket, {
    argv: request.argv,
    hook: true,
    ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
    ...(request.variables ? { variables: request.variables } : {}),
    ...(tty ? { tty } : {}),
  });
}

function exitCodeOf(status: ExitStatus): number {
  return 'code' in status ? status.code : 128 + constants.signals[status.signal];
}

function size(stream: NodeJS.WriteStream): { columns: number; rows: number } {
  return { columns: stream.columns || 80, rows: stream.rows || 24 };
}

/** Every key goes to the berth's terminal, Ctrl-C among them. @returns a function that gives the terminal back */
function attachTerminal({ stdin, stdout }: CommandContext, execution: Execution): () => void {
  const resize = (): void => {
    const { columns, rows } = size(stdout);
    execution.resize(columns, rows);
  };
  stdin.setRawMode(true);
  stdout.on('resize', resize);
  const release = forwardSignals(execution);
  return () => {
    release();
    stdout.off('resize', resize);
    stdin.setRawMode(false);
  };
}

/**
 * While the command runs, signals are its own: this process's other listeners, which would cancel, are set aside.
 * @returns a function that puts them back
 */
function forwardSignals(execution: Execution): () => void {
  const restore = forwarded.map((name) => {
    const before = process.listeners(name);
    const forward = (): void => execution.signal(name);
    process.removeAllListeners(name);
    process.on(name, forward);
    return () => {
      process.off(name, forward);
      for (const listener of before) process.on(name, listener);
    };
  });
  return () => restore.forEach((back) => back());
}

/** @returns a function that ends it, so that an open stdin does not keep this process alive */
function attachStdin({ stdin }: CommandContext, execution: Execution): () => void {
  execution.stdin.on('error', () => undefined);
  stdin.pipe(execution.stdin);
  return () => {
    stdin.unpipe(execution.stdin);
    stdin.pause();
    // A pipe's or socket's handle keeps the event loop alive even when paused.
    if ('unref' in stdin) stdin.unref();
  };
}

async function copy(from: Readable, to: NodeJS.WriteStream): Promise<void> {
  await pipeline(from, to, { end: false });
}

async function collect(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
