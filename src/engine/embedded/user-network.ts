/**
 * The network `bridge` of the embedded engine: a network namespace of the berth's own with a way out through slirp4netns,
 * a TCP/IP stack in user space. It needs no privileges and no firewall rules, and the host's own loopback can't be reached
 * through it. One process a berth; it outlives the daemon as the berth does.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';

const program = 'slirp4netns';

/** What the berth's /etc/resolv.conf says: slirp4netns answers there with the host's resolver. */
export const userNetworkResolvConf = 'nameserver 10.0.2.3\n';

/** Milliseconds within which the network must be there; it takes about ten. */
const readyTimeoutMs = 5000;

/**
 * Gives the network namespace of a process a way out; resolves when it works.
 * @param pid a process in the namespace
 * @returns the number of the helper process, which goes on when this process ends
 * @throws BerthError TOOL_MISSING, LAUNCH_FAILED
 */
export async function startUserNetwork(pid: number): Promise<number> {
  const args = ['--configure', '--mtu=65520', '--disable-host-loopback', '--ready-fd=3', String(pid), 'tap0'];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: true });
  const failed = (why: string, cause?: unknown) =>
    new BerthError('LAUNCH_FAILED', `The berth's network could not be made: ${why}.`, { cause });
  const [, , stderr, ready] = child.stdio as unknown as [null, null, Readable, Readable];
  let messages = '';
  stderr.setEncoding('utf8').on('data', (text: string) => (messages += text));
  const ended = once(child, 'exit').then(() => {
    throw failed(messages.trim().split('\n').at(-1) ?? `${program} ended`);
  });
  const error = once(child, 'error').then(([cause]) => {
    throw isErrno(cause, 'ENOENT')
      ? new BerthError('TOOL_MISSING', `The program \`${program}\` is not installed.`, {
          hint: `Install ${program}, or use --network none or host.`,
        })
      : failed(`${program} does not start`, cause);
  });
  const late = AbortSignal.timeout(readyTimeoutMs);
  try {
    await Promise.race([once(ready, 'data', { signal: late }), ended, error]);
  } catch (cause) {
    child.kill('SIGKILL');
    throw cause instanceof BerthError ? cause : failed(`${program} was not ready in time`, cause);
  } finally {
    ended.catch(() => undefined);
    error.catch(() => undefined);
    stderr.destroy();
    ready.destroy();
    child.unref();
  }
  if (child.pid === undefined) throw failed(`${program} has no number`);
  return child.pid;
}

/** Ends the helper process that a file names, if there is one. */
export function endUserNetwork(pidFile: string): void {
  try {
    endHelper(Number.parseInt(readFileSync(pidFile, 'utf8'), 10));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  rmSync(pidFile, { force: true });
}

/** Ends a helper process, unless its number is another process's by now. */
function endHelper(pid: number): void {
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(program)) process.kill(pid, 'SIGTERM');
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ESRCH')) throw error;
  }
}
