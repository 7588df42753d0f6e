/**
 * How many containers should wait. Nothing is assumed about how berths are asked for: the last requests are looked at, and
 * for each it is counted how many came within the time in which a taken container is replaced, itself among them. So many
 * would have had to wait for it to find one. The size is what would have been enough for the wanted share of them.
 */

export interface DemandOptions {
  readonly min: number;
  readonly max: number;
  /** Share of requests that are to find a container, 0 to 1. */
  readonly targetHitRate: number;
  /** Requests longer ago than this many milliseconds are forgotten. */
  readonly idleMs: number;
  readonly now?: () => number;
}

export interface Demand {
  /** A berth was asked for. */
  asked(): void;
  /** @param refillMs in how long a taken container is replaced */
  target(refillMs: number): number;
}

/** Requests that are looked at; more would only cost time. */
const remembered = 512;

export function createDemand(options: DemandOptions): Demand {
  const now = options.now ?? (() => performance.now());
  const times: number[] = [];
  return {
    asked() {
      times.push(now());
      if (times.length > remembered) times.shift();
    },
    target(refillMs) {
      const since = now() - options.idleMs;
      while (times.length > 0 && (times[0] ?? 0) < since) times.shift();
      if (times.length === 0) return options.min;
      let first = 0;
      const depths = times.map((time, index) => {
        while ((times[first] ?? time) < time - refillMs) first += 1;
        return index - first + 1;
      });
      depths.sort((a, b) => a - b);
      const enough = depths[Math.max(0, Math.ceil(depths.length * options.targetHitRate) - 1)] ?? 1;
      return Math.min(options.max, Math.max(options.min, enough));
    },
  };
}
