/** Counts work under way, and tells when there has been none for a while. */

export interface Activity {
  /** How many pieces of work are under way. */
  readonly inFlight: number;
  /** Milliseconds since the last work ended; 0 while there is some. */
  readonly idleForMs: () => number;
  /** @returns a function to be called once, when the work has ended */
  begin(): () => void;
  /** Resolves when no work is under way; at once when there is none. */
  whenIdle(): Promise<void>;
}

export function createActivity(now: () => number = Date.now): Activity {
  let inFlight = 0;
  let idleSince = now();
  const waiting: (() => void)[] = [];
  return {
    get inFlight() {
      return inFlight;
    },
    idleForMs: () => (inFlight > 0 ? 0 : now() - idleSince),
    begin() {
      inFlight += 1;
      let ended = false;
      return () => {
        if (ended) return;
        ended = true;
        inFlight -= 1;
        if (inFlight > 0) return;
        idleSince = now();
        for (const resolve of waiting.splice(0)) resolve();
      };
    },
    whenIdle: () => (inFlight === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}
