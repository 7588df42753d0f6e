/** A number of slots and the queue for them. */
import { BerthError } from '../core/errors.ts';
import { createFairQueue, priorities, type Priority, type QueueEntry } from './fair-queue.ts';

export interface Slot {
  /** From 1 on. */
  readonly number: number;
  /** Gives it back; twice is no error. */
  release(): void;
}

/** One that waits for a slot, or has waited. */
export interface Applicant extends QueueEntry {
  priority: Priority;
  /** Told its place in the queue when it changes: each of the first ten, then tens. */
  readonly onPosition: (position: number) => void;
}

export interface Lane {
  readonly slots: number;
  readonly busy: number;
  readonly queued: number;
  /** @throws BerthError CANCELLED when the signal aborts first */
  claim(applicant: Applicant, signal: AbortSignal): Promise<Slot>;
  /** Gives one that waits a higher priority. */
  raise(applicant: Applicant, priority: Priority): void;
  positionOf(applicant: Applicant): number | undefined;
}

export function createLane(slots: number): Lane {
  const queue = createFairQueue<Applicant>();
  const grants = new Map<Applicant, (slot: Slot) => void>();
  const told = new Map<Applicant, number>();
  // The one that was given back longest ago comes first: who tries again meets another.
  const free = Array.from({ length: slots }, (_, index) => index + 1);

  function slotOf(number: number): Slot {
    let released = false;
    return {
      number,
      release() {
        if (released) return;
        released = true;
        free.push(number);
        grant();
      },
    };
  }

  function grant(): void {
    for (let number = free[0]; number !== undefined && queue.size > 0; number = free[0]) {
      const next = queue.take();
      if (!next) return;
      free.shift();
      told.delete(next);
      grants.get(next)?.(slotOf(number));
      grants.delete(next);
    }
    tellPositions();
  }

  function tellPositions(): void {
    for (const applicant of grants.keys()) {
      const position = queue.positionOf(applicant) ?? 0;
      const shown = position <= 10 ? position : Math.ceil(position / 10) * 10;
      if (told.get(applicant) === shown) continue;
      told.set(applicant, shown);
      applicant.onPosition(position);
    }
  }

  return {
    slots,
    get busy() {
      return slots - free.length;
    },
    get queued() {
      return queue.size;
    },
    claim(applicant, signal) {
      return new Promise((resolve, reject) => {
        const cancelled = () =>
          reject(
            signal.reason instanceof BerthError
              ? signal.reason
              : new BerthError('CANCELLED', 'The work was cancelled.'),
          );
        if (signal.aborted) {
          cancelled();
          return;
        }
        const leave = () => {
          queue.remove(applicant);
          grants.delete(applicant);
          told.delete(applicant);
          tellPositions();
          cancelled();
        };
        signal.addEventListener('abort', leave, { once: true });
        grants.set(applicant, (slot) => {
          signal.removeEventListener('abort', leave);
          resolve(slot);
        });
        queue.add(applicant);
        grant();
      });
    },
    raise(applicant, priority) {
      if (priorities.indexOf(priority) >= priorities.indexOf(applicant.priority)) return;
      const waiting = queue.remove(applicant);
      applicant.priority = priority;
      if (!waiting) return;
      queue.add(applicant);
      tellPositions();
    },
    positionOf: (applicant) => queue.positionOf(applicant),
  };
}
