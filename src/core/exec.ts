/** Runs programs: bounded in time and output, ended with their whole process group, never through a shell. */
import { spawn } from 'node:child_process';
import { BerthError } from './errors.ts';
import { isErrno } from './files.ts';

export interface ExecOptions {
  readonly cwd?: string;
  /** The whole environment of the program; the daemon's own when absent. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly signal?: AbortSignal;
  /** Milliseconds until the program is killed. */
  readonly timeoutMs?: number;
  /** Bytes of stdout or stderr past which the program is killed. Default 64 MiB. */
  readonly maxOutputBytes?: number;
  /** Milliseconds that an ended program has to end what it started, after SIGTERM. Default 0: killed at once. */
  readonly graceMs?: number;
  /** Called with each whole line of stderr as it comes. */
  readonly onStderrLine?: (line: string) => void;
}

export interface ExecResult {
  /** The exit code, or null when a signal ended the program. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Set when Berth itself ended the program. */
  readonly ended?: 'timeout' | 'output';
}

const defaultMaxOutputBytes = 64 * 1024 * 1024;

/**
 * Runs a program to its end. A non-zero exit is a result, not an error.
 * @throws BerthError TOOL_MISSING when the program is not there; CANCELLED when the signal aborts
 */
export async function exec(program: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  if (options.signal?.aborted) throw new BerthError('CANCELLED', `${program} was cancelled before it started.`);
  const maxBytes = options.maxOutputBytes ?? defaultMaxOutputBytes;
  return new Promise<ExecResult>((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own, so that ending it ends what it started too.
      detached: true,
    });
    let ended: ExecResult['ended'];
    let cancelled = false;
    const kill = (signal: NodeJS.Signals) => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, signal);
      } catch (error) {
        if (!isErrno(error, 'ESRCH')) throw error;
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const end = () => {
      if (options.graceMs === undefined || killing !== undefined) {
        kill('SIGKILL');
        return;
      }
      kill('SIGTERM');
      killing = setTimeout(() => kill('SIGKILL'), options.graceMs);
    };
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            ended = 'timeout';
            end();
          }, options.timeoutMs);
    const onAbort = () => {
      cancelled = true;
      end();
    };
    options.signal?.addEventListener('abort', onAbort, { once: true });

    const stdout = collect(maxBytes, () => {
      ended = 'output';
      end();
    });
    const stderr = collect(maxBytes, () => {
      ended = 'output';
      end();
    });
    const lines = options.onStderrLine && lineSplitter(options.onStderrLine);
    child.stdout.on('data', stdout.add);
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.add(chunk);
      lines?.add(chunk);
    });
    // EPIPE: the program ended without reading its input; its exit code tells the rest.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');

    const settle = () => {
      clearTimeout(timer);
      clearTimeout(killing);
      options.signal?.removeEventListener('abort', onAbort);
    };
    child.on('error', (error) => {
      settle();
      reject(
        isErrno(error, 'ENOENT')
          ? new BerthError('TOOL_MISSING', `The program \`${program}\` is not installed.`, { cause: error })
          : error,
      );
    });
    child.on('close', (code, signal) => {
      settle();
      lines?.flush();
      if (cancelled) {
        reject(new BerthError('CANCELLED', `${program} was cancelled.`));
        return;
      }
      resolve({ code, signal, stdout: stdout.text(), stderr: stderr.text(), ...(ended ? { ended } : {}) });
    });
  });
}

function collect(maxBytes: number, onTooMuch: () => void) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    add: (chunk: Buffer): void => {
      if (bytes > maxBytes) return;
      bytes += chunk.length;
      if (bytes > maxBytes) onTooMuch();
      else chunks.push(chunk);
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
}

function lineSplitter(onLine: (line: string) => void) {
  let rest = '';
  const decoder = new TextDecoder();
  return {
    add(chunk: Buffer): void {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) onLine(part);
    },
    flush(): void {
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}
