/**
 * A berth's own folder on the host, which the berth sees as /run/berth and can write. So nothing that Berth does in it
 * follows a link or trusts what it finds: entries are replaced, and files are read bounded and only when they are files.
 */
import { constants, rmSync, writeFileSync, watch } from 'node:fs';
import { access, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';

/** @returns the agent's socket on the host */
export function agentSocket(runDirectory: string): string {
  return join(runDirectory, 'agent.sock');
}

/** Makes the folder ready for a start: no socket or exit code of an earlier run, and the command that is to be run. */
export function prepareRunDirectory(runDirectory: string, command: readonly string[] | null): void {
  for (const name of ['agent.sock', 'exit', 'command']) {
    rmSync(join(runDirectory, name), { recursive: true, force: true });
  }
  if (command) writeCommand(runDirectory, command);
}

/** Writes what the agent is to run as the berth's own command. */
export function writeCommand(runDirectory: string, command: readonly string[]): void {
  const path = join(runDirectory, 'command');
  rmSync(path, { recursive: true, force: true });
  writeFileSync(path, command.map((argument) => `${argument}\0`).join(''), { flag: 'wx', mode: 0o644 });
}

/** Waits for the agent's socket: whoever sees it can connect. */
export interface ReadinessWait {
  readonly ready: Promise<void>;
  cancel(): void;
}

/**
 * Begins to wait for the agent; call it before the container is started.
 * @param timeoutMs after which `ready` rejects with LAUNCH_FAILED
 */
export function waitForAgent(runDirectory: string, timeoutMs: number): ReadinessWait {
  let cancel: () => void = () => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    const watcher = watch(runDirectory, { persistent: false });
    const timer = setTimeout(
      () => finish(new BerthError('LAUNCH_FAILED', `The agent did not answer within ${timeoutMs / 1000} seconds.`)),
      timeoutMs,
    );
    const finish = (error?: Error) => {
      clearTimeout(timer);
      watcher.close();
      if (error) reject(error);
      else resolve();
    };
    watcher.on('change', (_event, name) => {
      if (name !== 'agent.sock') return;
      access(agentSocket(runDirectory)).then(
        () => finish(),
        () => undefined,
      );
    });
    watcher.on('error', finish);
    cancel = () => finish(new BerthError('CANCELLED', 'The launch was cancelled.'));
  });
  ready.catch(() => undefined);
  return { ready, cancel };
}

/** @returns the exit code of the berth's command, or null where it has not ended or there is none */
export async function readExitCode(runDirectory: string): Promise<number | null> {
  const text = await readSmallFile(join(runDirectory, 'exit'), 16);
  return text !== undefined && /^\d{1,3}\n$/.test(text) ? Number.parseInt(text, 10) : null;
}

async function readSmallFile(path: string, maxBytes: number): Promise<string | undefined> {
  const file = await openBerthFile(path);
  if (!file) return undefined;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Opens a file of a berth's folder for reading.
 * @returns undefined where there is no such file, or something else in its place: a link, a pipe, a folder
 */
export async function openBerthFile(path: string): Promise<FileHandle | undefined> {
  try {
    // Without O_NONBLOCK, opening a pipe would wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    return undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined;
    throw error;
  }
}
