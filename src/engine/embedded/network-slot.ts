/**
 * A network that is ready before a berth asks for it. To make one takes about ten milliseconds, which a launch need not
 * wait for: one is kept waiting, and another is made behind each launch that takes it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../core/files.ts';
import { endHelper, startUserNetwork } from './user-network.ts';

export interface NetworkSlot {
  /** The namespace as a path, for the runtime to join. */
  readonly namespace: string;
  /** The process that is the berth's way out. */
  readonly helper: number;
  /** Lets go of the namespace: a container has joined it. */
  release(): void;
}

export interface NetworkSlots {
  /** @returns a ready network, or undefined when none waits; the caller then makes its own */
  take(): NetworkSlot | undefined;
  /** Makes one that waits, unless one does. */
  refill(): void;
  close(): Promise<void>;
}

/** Says that the namespace is there, and keeps it until its stdin is closed: also when this process is killed. */
const holderScript = 'echo ready; read -r end';

/**
 * @param busybox the static busybox
 * @param directory remembers what waits, so that a later daemon ends what a killed one left
 */
export function createNetworkSlots(busybox: string, directory: string): NetworkSlots {
  let waiting: NetworkSlot | undefined;
  let making: Promise<void> | undefined;
  let closed = false;
  endLeftovers(directory);

  async function make(): Promise<void> {
    const holder = spawn(busybox, ['unshare', '-n', busybox, 'sh', '-c', holderScript], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    try {
      const ended = once(holder, 'exit').then(() => {
        throw new TypeError('the holder of the namespace ended');
      });
      await Promise.race([once(holder.stdout, 'data'), ended]);
      ended.catch(() => undefined);
      const pid = holder.pid ?? 0;
      const helper = await startUserNetwork(pid);
      mkdirSync(directory, { recursive: true });
      const record = join(directory, String(helper));
      writeFileSync(record, '');
      holder.stdout.destroy();
      holder.unref();
      (holder.stdin as unknown as { unref(): void }).unref();
      const slot: NetworkSlot = {
        namespace: `/proc/${pid}/ns/net`,
        helper,
        release() {
          rmSync(record, { force: true });
          end(holder);
        },
      };
      if (closed) discard(slot);
      else waiting = slot;
    } catch (error) {
      end(holder);
      throw error;
    }
  }

  return {
    take() {
      const slot = waiting;
      waiting = undefined;
      return slot;
    },
    refill() {
      if (waiting || making || closed) return;
      // Without one a launch makes its own network, and tells why when it can't.
      making = make()
        .catch(() => undefined)
        .finally(() => (making = undefined));
    },
    async close() {
      closed = true;
      await making;
      if (waiting) discard(waiting);
      waiting = undefined;
    },
  };
}

function discard(slot: NetworkSlot): void {
  slot.release();
  endHelper(slot.helper);
}

function end(holder: ChildProcess): void {
  holder.kill('SIGKILL');
}

function endLeftovers(directory: string): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  for (const name of names) {
    endHelper(Number(name));
    rmSync(join(directory, name), { force: true });
  }
}
