/**
 * A queue that is fair between tenants: deficit round robin (Shreedhar and Varghese, "Efficient fair queuing using deficit
 * round robin", SIGCOMM 1995) within each priority, so that a tenant with a thousand entries delays another by one at most.
 */

export const priorities = ['interactive', 'normal', 'background'] as const;
export type Priority = (typeof priorities)[number];

export interface QueueEntry {
  readonly tenant: string;
  readonly priority: Priority;
  /** What it takes of its tenant's share. Default 1. */
  readonly cost?: number;
}

export interface FairQueue<Entry extends QueueEntry> {
  readonly size: number;
  add(entry: Entry): void;
  /** @returns the entry whose turn it is, which is then no longer in the queue */
  take(): Entry | undefined;
  /** @returns whether it was there */
  remove(entry: Entry): boolean;
  /** @returns how many are taken until it is, itself included, if nothing is added; exact for entries of equal cost */
  positionOf(entry: Entry): number | undefined;
  /** @returns the entries, in no order that matters */
  entries(): Entry[];
}

export interface FairQueueOptions {
  /** Milliseconds after which an entry of a lower priority counts as late. Default 30 s. */
  readonly lateMs?: number;
  /** While there is a late entry, one of so many takes is its priority's. Default 8. */
  readonly lateShare?: number;
  readonly now?: () => number;
}

interface Waiting<Entry> {
  readonly entry: Entry;
  readonly since: number;
}

interface Tenant<Entry> {
  readonly name: string;
  readonly waiting: Waiting<Entry>[];
  deficit: number;
}

/** What a tenant may take in one round. */
const quantum = 1;

export function createFairQueue<Entry extends QueueEntry>(options: FairQueueOptions = {}): FairQueue<Entry> {
  const { lateMs = 30_000, lateShare = 8, now = Date.now } = options;
  // The tenants of each priority, the one whose turn it is first.
  const levels = new Map<Priority, Tenant<Entry>[]>(priorities.map((priority) => [priority, []]));
  const ringOf = (priority: Priority) => levels.get(priority) ?? [];
  let size = 0;
  let takenSinceLate = 0;

  function takeOf(ring: Tenant<Entry>[]): Entry | undefined {
    for (let tenant = ring[0]; tenant !== undefined; tenant = ring[0]) {
      const cost = tenant.waiting[0]?.entry.cost ?? 1;
      // Its turn begins with a new share, and ends when what is left of that is too little.
      if (tenant.deficit < cost) {
        tenant.deficit += quantum;
        if (tenant.deficit < cost) {
          ring.push(...ring.splice(0, 1));
          continue;
        }
      }
      const taken = tenant.waiting.shift();
      tenant.deficit -= cost;
      if (tenant.waiting.length === 0) ring.shift();
      else if (tenant.deficit < (tenant.waiting[0]?.entry.cost ?? 1)) ring.push(...ring.splice(0, 1));
      size -= 1;
      return taken?.entry;
    }
    return undefined;
  }

  /** @returns a lower priority that has waited so long that it is to have a share */
  function late(highest: Priority): Priority | undefined {
    const before = now() - lateMs;
    return priorities
      .slice(priorities.indexOf(highest) + 1)
      .find((priority) => ringOf(priority).some(({ waiting }) => (waiting[0]?.since ?? Infinity) <= before));
  }

  return {
    get size() {
      return size;
    },
    add(entry) {
      const ring = ringOf(entry.priority);
      let tenant = ring.find(({ name }) => name === entry.tenant);
      if (!tenant) {
        tenant = { name: entry.tenant, waiting: [], deficit: 0 };
        ring.push(tenant);
      }
      tenant.waiting.push({ entry, since: now() });
      size += 1;
    },
    take() {
      const highest = priorities.find((priority) => ringOf(priority).length > 0);
      if (highest === undefined) return undefined;
      const lower = late(highest);
      if (lower === undefined) takenSinceLate = 0;
      else takenSinceLate += 1;
      const isLate = lower !== undefined && takenSinceLate >= lateShare;
      if (isLate) takenSinceLate = 0;
      return takeOf(ringOf(isLate ? lower : highest));
    },
    remove(entry) {
      const ring = ringOf(entry.priority);
      for (const [place, tenant] of ring.entries()) {
        const index = tenant.waiting.findIndex((waiting) => waiting.entry === entry);
        if (index < 0) continue;
        tenant.waiting.splice(index, 1);
        if (tenant.waiting.length === 0) ring.splice(place, 1);
        size -= 1;
        return true;
      }
      return false;
    },
    positionOf(entry) {
      const ring = ringOf(entry.priority);
      const place = ring.findIndex(({ name }) => name === entry.tenant);
      const mine = ring[place]?.waiting.findIndex((waiting) => waiting.entry === entry) ?? -1;
      if (mine < 0) return undefined;
      const higher = priorities.slice(0, priorities.indexOf(entry.priority)).flatMap(ringOf);
      const before = higher.reduce((sum, { waiting }) => sum + waiting.length, 0);
      const beside = ring.reduce(
        (sum, { waiting }, at) => sum + (at === place ? mine : Math.min(waiting.length, mine + (at < place ? 1 : 0))),
        0,
      );
      return before + beside + 1;
    },
    entries: () => [...levels.values()].flat().flatMap(({ waiting }) => waiting.map(({ entry }) => entry)),
  };
}
