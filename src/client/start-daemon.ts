/** Starts the daemon as a process of its own and waits until it says that it is ready. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { BerthError, type ErrorReport } from '../core/errors.ts';

export interface StartDaemonOptions {
  /** The daemon's bundle, dist/daemon/main.js. */
  readonly program: string;
  /** Takes what the process prints besides its log, for example when it crashes. */
  readonly log: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
}

/**
 * What the daemon gets of the caller's environment: it outlives the command, so that secrets of one shell must not
 * stay in it.
 */
const passed =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|BERTH_\w+|(https?|no|all)_proxy|SSL_CERT_FILE|NIX_SSL_CERT_FILE|NODE_EXTRA_CA_CERTS)$/i;

/**
 * Resolves when a daemon answers: the one started here, or another that was started at the same time.
 * @throws BerthError why the daemon could not start, or DAEMON_UNREACHABLE with the end of its log
 */
export async function startDaemonProcess(options: StartDaemonOptions): Promise<void> {
  mkdirSync(dirname(options.log), { recursive: true });
  const log = openSync(options.log, 'a', 0o600);
  const logStart = fstatSync(log).size;
  const env = Object.fromEntries(Object.entries(options.env).filter(([name]) => passed.test(name)));
  const child = spawn(process.execPath, ['--enable-source-maps', options.program], {
    detached: true,
    cwd: '/',
    env,
    stdio: ['ignore', log, log, 'pipe'],
  });
  closeSync(log);
  child.unref();
  const readiness = child.stdio[3] as Readable;
  const cancel = (): void => void readiness.destroy();
  options.signal?.addEventListener('abort', cancel, { once: true });
  try {
    const [text] = await Promise.all([readLine(readiness), Promise.race([once(child, 'spawn'), failed(child)])]);
    if (options.signal?.aborted) throw new BerthError('CANCELLED', 'The work was cancelled.');
    const message = text === '' ? {} : (JSON.parse(text) as { ready?: boolean; error?: ErrorReport });
    if (message.ready) return;
    if (message.error) throw BerthError.fromReport(message.error);
    throw new BerthError('DAEMON_UNREACHABLE', 'The daemon ended before it was ready.', {
      hint: `Its log is ${options.log}.`,
      details: { logTail: readTail(options.log, logStart) },
    });
  } finally {
    options.signal?.removeEventListener('abort', cancel);
    readiness.destroy();
  }
}

async function readLine(stream: Readable): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  try {
    for await (const chunk of stream) {
      text += chunk as string;
      if (text.includes('\n')) break;
    }
  } catch {
    // Destroyed by the caller's signal.
  }
  return text.split('\n')[0] ?? '';
}

function failed(child: ReturnType<typeof spawn>): Promise<never> {
  return new Promise((_, reject) => {
    child.once('error', (cause) =>
      reject(new BerthError('DAEMON_UNREACHABLE', `The daemon cannot be started: ${cause.message}.`, { cause })),
    );
  });
}

const tailBytes = 4096;

/** The last lines that were written since the start. */
function readTail(path: string, from: number): string[] {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const start = Math.max(from, size - tailBytes);
    const buffer = Buffer.alloc(Math.max(0, size - start));
    readSync(file, buffer, 0, buffer.length, start);
    return buffer
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== '')
      .slice(-20);
  } finally {
    closeSync(file);
  }
}
