/**
 * Keeps a garbage collection from beginning while work has something in the store that no root names yet. Nix itself
 * protects what its running processes use, and what they made since a collection began; what is left are the moments
 * between two of them: after an evaluation wrote derivations and before a root was made.
 */
import { BerthError } from '../core/errors.ts';

/** What one piece of work holds; ended when roots are made, or when the work ends. */
export interface StoreHold {
  /** No collection begins from now on. Waits while one is just beginning. Beginning twice is no error. */
  begin(signal?: AbortSignal): Promise<void>;
  end(): void;
}

export interface GarbageGuard {
  hold(): StoreHold;
  /**
   * Runs work that makes an environment ready and then gives it to a berth. While some does, what was just used counts as
   * needed: its berth may not be recorded yet.
   */
  using<T>(work: () => Promise<T>): Promise<T>;
  readonly inUse: boolean;
  /**
   * Waits for a moment in which nothing is held, and lets nothing be held from then until `begun` is called or the work ends.
   * @throws BerthError CANCELLED
   */
  collect<T>(work: (begun: () => void) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export function createGarbageGuard(): GarbageGuard {
  let held = 0;
  let users = 0;
  let beginning = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  const until = async (condition: () => boolean, signal: AbortSignal | undefined) => {
    while (!condition()) {
      if (signal?.aborted) throw new BerthError('CANCELLED', 'The work was cancelled.');
      await new Promise<void>((resolve) => {
        waiting.add(resolve);
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  };

  return {
    hold() {
      let state: 'free' | 'held' = 'free';
      const take = () => {
        if (state === 'held') return;
        state = 'held';
        held += 1;
      };
      return {
        async begin(signal) {
          if (state === 'held') return;
          await until(() => !beginning, signal);
          take();
        },
        end() {
          if (state === 'free') return;
          state = 'free';
          held -= 1;
          wake();
        },
      };
    },
    async using(work) {
      users += 1;
      try {
        return await work();
      } finally {
        users -= 1;
      }
    },
    get inUse() {
      return users > 0;
    },
    async collect(work, signal) {
      await until(() => !beginning && held === 0, signal);
      beginning = true;
      let mine = true;
      const begun = () => {
        if (!mine) return;
        mine = false;
        beginning = false;
        wake();
      };
      try {
        return await work(begun);
      } finally {
        begun();
      }
    },
  };
}
