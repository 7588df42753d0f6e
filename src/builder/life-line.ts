/**
 * The outermost part of a worker: everything in it dies with it, and it dies with the daemon, so that neither a kill of the
 * worker nor of the daemon leaves a build running or a lock held.
 *
 * Processes of a worker are in a process namespace of their own. Nix names its files of temporary roots by its process id
 * (nix/src/libstore/gc.cc), and takes one of its own number for a leftover: so Nix gets the number that the worker has on
 * the host, which no other process that lives has, by the kernel's ns_last_pid.
 */
import { existsSync } from 'node:fs';

/** Whether processes can get a namespace of their own in which a number can be chosen. */
export function hasProcessNamespaces(): boolean {
  return process.getuid?.() === 0 && existsSync('/proc/sys/kernel/ns_last_pid');
}

/** SIGTERM is for Nix alone, which ends its builds and goes; what is around it must not go first. */
const start = 'trap "" TERM; exec "$@"';
const startNumbered = 'trap "" TERM; echo $$ > "$0"; exec "$@"';

/**
 * @param numberFile is given the number of the worker's process; it must be at insideNumberFile in the sandbox
 * @returns the command behind what makes it die as a whole
 */
export function onLifeLine(command: readonly string[], numberFile: string): string[] {
  if (!hasProcessNamespaces()) return ['sh', '-c', start, 'sh', ...command];
  const alone = ['unshare', '--pid', '--fork', '--kill-child=KILL', '--mount', '--propagation', 'private'];
  const dying = ['setpriv', '--pdeathsig', 'KILL', '--', ...alone, '--mount-proc'];
  return ['sh', '-c', startNumbered, numberFile, ...dying, ...command];
}

/** Where the sandbox has the number. */
export const insideNumberFile = '/run/worker/number';

/**
 * Runs Nix under its number; passes SIGTERM on where it is told to this shell and not to all; and leaves nothing running,
 * though Nix was killed.
 */
const runNumbered = `
last=/proc/sys/kernel/ns_last_pid
[ ! -s ${insideNumberFile} ] || { read -r number < ${insideNumberFile} && echo $((number - 1)) > $last; } || exit 125
"$@" & nix=$!
trap 'kill -TERM $nix' TERM
while :; do wait $nix; code=$?; kill -0 $nix 2>/dev/null || break; done
[ ! -s ${insideNumberFile} ] || kill -KILL -1 2>/dev/null
exit $code`;

/** @returns the command as the sandbox's own first process runs it */
export function withinLifeLine(command: readonly string[]): string[] {
  return ['sh', '-c', runNumbered, 'sh', ...command];
}
