/**
 * A process that waits to become the runtime, in control groups that it has joined already. To join takes the kernel 6 to
 * 20 ms (cgroup.procs is written under a lock that waits for an RCU grace period), whoever does it: so one is kept
 * waiting, and another is made behind each launch that takes it. It ends by itself with the daemon.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Cgroups } from './cgroups.ts';
import { afterRuntime, type Runtime, waitingCommand } from './runtime.ts';

export interface LaunchSlot {
  /** The control groups' name. */
  readonly group: string;
  /** Becomes this command, which runs a container in the background; resolves when it has ended well. */
  start(command: readonly string[]): Promise<void>;
  /** Ends it, where it was taken and nothing came of it. */
  abandon(): void;
}

export interface LaunchSlots {
  /** @returns a waiting one for a command of these arguments, or undefined; the caller then joins groups of its own */
  take(runtime: Runtime, command: readonly string[]): LaunchSlot | undefined;
  /** Makes one that waits, unless one does. */
  refill(runtime: Runtime): void;
  close(): Promise<void>;
}

const prefix = 'slot-';

interface Waiting extends LaunchSlot {
  readonly runtime: Runtime;
  readonly isAlive: () => boolean;
  discard(): Promise<void>;
}

/** @param busybox the static busybox, whose shell waits */
export function createLaunchSlots(cgroups: Cgroups, busybox: string): LaunchSlots {
  let waiting: Waiting | undefined;
  let making: Promise<void> | undefined;
  let closed = false;
  // What a daemon that was killed left; those that a berth is in refuse to go.
  for (const name of cgroups.groups()) if (name.startsWith(prefix)) cgroups.removeIfEmpty(name);

  async function make(runtime: Runtime): Promise<void> {
    const group = `${prefix}${randomBytes(6).toString('hex')}`;
    cgroups.create(group, { memoryBytes: null, cpus: null, pids: null });
    const [program = '', ...args] = waitingCommand(runtime, cgroups.joinFiles(group), busybox);
    const child = spawn(program, args, { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] });
    let alive = true;
    const isAlive = () => alive;
    const ended = new Promise<void>((resolve) => {
      const end = () => {
        alive = false;
        resolve();
      };
      child.once('exit', end);
      child.once('error', end);
    });
    child.stdin.on('error', () => undefined);
    const discard = async () => {
      // Waited for, though the daemon may end meanwhile otherwise.
      child.ref();
      child.kill('SIGKILL');
      await ended;
      await cgroups.remove(group);
    };
    await Promise.race([once(child.stdout, 'data'), ended]);
    if (!isAlive() || closed) {
      await discard();
      return;
    }
    child.unref();
    for (const stream of child.stdio) (stream as unknown as { unref(): void }).unref();
    waiting = {
      group,
      runtime,
      isAlive,
      discard,
      abandon: () => void child.kill('SIGKILL'),
      start(command) {
        child.ref();
        const done = afterRuntime(child, runtime);
        child.stdin.end(command.map((part) => `${part}\n`).join(''));
        child.stdout.destroy();
        return done;
      },
    };
  }

  return {
    take(runtime, command) {
      const slot = waiting;
      // The shell takes one argument a line.
      if (slot?.runtime !== runtime || !command.every((part) => part !== '' && !part.includes('\n'))) return undefined;
      waiting = undefined;
      if (slot.isAlive()) return slot;
      void slot.discard().catch(() => undefined);
      return undefined;
    },
    refill(runtime) {
      if (waiting || making || closed || runtime.groupsBy !== 'berth' || cgroups.layout === null) return;
      // Without one a launch joins its own groups, and tells why when it can't.
      making = make(runtime)
        .catch(() => undefined)
        .finally(() => (making = undefined));
    },
    async close() {
      closed = true;
      await making;
      await waiting?.discard();
      waiting = undefined;
    },
  };
}
