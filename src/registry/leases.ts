/**
 * Who is using what: blobs and manifests that a pull, a push or an engine has in hand, so that eviction leaves them.
 * A client never says that it has ended, so a lease ends by itself when nothing has been heard of it for some time.
 */

export interface Leases {
  /** Begins the holder's lease, or renews it. */
  hold(name: string, holder: string): void;
  release(name: string, holder: string): void;
  /** Renews whatever leases there are on the name; makes none. */
  renew(name: string): void;
  isHeld(name: string): boolean;
}

/** @param idleMs how long after its last use something is still held */
export function createLeases(idleMs: number, now: () => number = Date.now): Leases {
  const held = new Map<string, Map<string, number>>();

  const current = (name: string): Map<string, number> | undefined => {
    const holders = held.get(name);
    if (!holders) return undefined;
    for (const [holder, until] of holders) if (until <= now()) holders.delete(holder);
    if (holders.size > 0) return holders;
    held.delete(name);
    return undefined;
  };
  let swept = now();
  /** What is never asked for again must not stay in memory. */
  const sweep = (): void => {
    if (now() - swept < idleMs) return;
    swept = now();
    for (const name of [...held.keys()]) current(name);
  };

  return {
    hold(name, holder) {
      sweep();
      const holders = held.get(name) ?? new Map<string, number>();
      holders.set(holder, now() + idleMs);
      held.set(name, holders);
    },
    release(name, holder) {
      held.get(name)?.delete(holder);
    },
    renew(name) {
      const holders = current(name);
      for (const holder of holders?.keys() ?? []) holders?.set(holder, now() + idleMs);
    },
    isHeld: (name) => current(name) !== undefined,
  };
}
