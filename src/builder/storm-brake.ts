/** Slows down what fails again and again: the first failures cost nothing, then each doubles the pause. */
import { BerthError, type ErrorReport } from '../core/errors.ts';

export interface BrakePolicy {
  /** So many failures in a row are let through. */
  readonly free: number;
  /** Failures longer ago than this count no more, in milliseconds. */
  readonly windowMs: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const buildBrake: BrakePolicy = {
  free: 3,
  windowMs: 10 * 60_000,
  firstPauseMs: 5000,
  longestPauseMs: 5 * 60_000,
};

/** Evaluations are short, and people try again while they look for what is wrong. */
export const evaluationBrake: BrakePolicy = {
  free: 10,
  windowMs: 60_000,
  firstPauseMs: 2000,
  longestPauseMs: 30_000,
};

/**
 * @param failures when it failed since it last succeeded, in milliseconds since the epoch
 * @returns when it may be tried again; undefined: now
 */
export function pausedUntil(failures: readonly number[], now: number, policy: BrakePolicy): number | undefined {
  const counted = failures.filter((at) => at > now - policy.windowMs);
  if (counted.length < policy.free) return undefined;
  const pause = Math.min(policy.longestPauseMs, policy.firstPauseMs * 2 ** (counted.length - policy.free));
  const until = Math.max(...counted) + pause;
  return until > now ? until : undefined;
}

/** @returns the error for what is tried again too soon */
export function throttled(
  what: string,
  failures: number,
  until: number,
  now: number,
  last: ErrorReport | null,
): BerthError {
  const seconds = Math.max(1, Math.ceil((until - now) / 1000));
  const why = last ? ` Last: ${last.message}` : '';
  return new BerthError('BUILD_THROTTLED', `${what} has failed ${failures} times in a row.${why}`, {
    hint: `Change the config, wait ${seconds} s, or use --retry.`,
    details: { retryAt: new Date(until).toISOString(), retryAfterMs: until - now, failures, ...(last ? { last } : {}) },
  });
}

/** A brake kept in memory, for work that leaves no record. */
export interface StormBrake {
  /** @throws BerthError BUILD_THROTTLED */
  check(key: string, what: string): void;
  failed(key: string, error: ErrorReport): void;
  clear(key: string): void;
}

/** How many keys are remembered. */
const capacity = 1000;

export function createStormBrake(policy: BrakePolicy, now: () => number = Date.now): StormBrake {
  const known = new Map<string, { failures: number[]; last: ErrorReport }>();
  return {
    check(key, what) {
      const entry = known.get(key);
      if (!entry) return;
      const until = pausedUntil(entry.failures, now(), policy);
      if (until !== undefined) throw throttled(what, entry.failures.length, until, now(), entry.last);
    },
    failed(key, error) {
      const before = (known.get(key)?.failures ?? []).filter((at) => at > now() - policy.windowMs);
      known.delete(key);
      known.set(key, { failures: [...before, now()], last: error });
      const [oldest] = known.keys();
      if (known.size > capacity && oldest !== undefined) known.delete(oldest);
    },
    clear: (key) => void known.delete(key),
  };
}
