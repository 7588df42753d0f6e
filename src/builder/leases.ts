/**
 * Leases on keys in the state's database: who builds what. A lease lasts a little longer than the time between two
 * heartbeats; that of a process that has ended is free at once.
 */
import type Database from 'libsql';
import { z } from 'zod';
import { hasEnded } from './owner.ts';

export interface Lease {
  readonly key: string;
  readonly buildId: string;
  readonly owner: string;
}

export interface Leases {
  /** @returns the lease that counts now: the one that was asked for, or another owner's that lives */
  acquire(lease: Lease): Lease;
  /** Lets the leases last anew. @returns those that are no longer the owner's */
  renew(leases: readonly Lease[]): Lease[];
  release(lease: Lease): void;
  /** @returns the lease of a key, if its owner lives */
  of(key: string): Lease | undefined;
}

export interface LeaseOptions {
  /** Default 20 s. */
  readonly durationMs?: number;
  readonly now?: () => number;
  readonly isOwnerGone?: (owner: string) => boolean;
}

/** Milliseconds between two heartbeats of a lease of the default duration. */
export const heartbeatMs = 5000;

const schema = `
  CREATE TABLE IF NOT EXISTS build_leases (
    key TEXT PRIMARY KEY,
    build_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    heartbeat INTEGER NOT NULL,
    expires INTEGER NOT NULL
  );
`;
const rowSchema = z.object({ key: z.string(), build_id: z.string(), owner: z.string(), expires: z.int() });

export function createLeases(database: Database.Database, options: LeaseOptions = {}): Leases {
  const { durationMs = 20_000, now = Date.now, isOwnerGone = hasEnded } = options;
  database.exec(schema);
  const select = database.prepare('SELECT key, build_id, owner, expires FROM build_leases WHERE key = ?');
  const write = database.prepare(
    `INSERT INTO build_leases (key, build_id, owner, heartbeat, expires) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET build_id = excluded.build_id, owner = excluded.owner,
       heartbeat = excluded.heartbeat, expires = excluded.expires`,
  );
  const extend = database.prepare(
    'UPDATE build_leases SET heartbeat = ?, expires = ? WHERE key = ? AND build_id = ? AND owner = ?',
  );
  const remove = database.prepare('DELETE FROM build_leases WHERE key = ? AND build_id = ? AND owner = ?');

  function of(key: string): Lease | undefined {
    const row: unknown = select.get(key);
    if (row === undefined) return undefined;
    const { build_id: buildId, owner, expires } = rowSchema.parse(row);
    return expires <= now() || isOwnerGone(owner) ? undefined : { key, buildId, owner };
  }

  return {
    of,
    acquire: (lease) =>
      immediately(database, () => {
        const held = of(lease.key);
        if (held && (held.owner !== lease.owner || held.buildId !== lease.buildId)) return held;
        write.run(lease.key, lease.buildId, lease.owner, now(), now() + durationMs);
        return lease;
      }),
    renew: (leases) =>
      immediately(database, () =>
        leases.filter(({ key, buildId, owner }) => {
          return extend.run(now(), now() + durationMs, key, buildId, owner).changes === 0;
        }),
      ),
    release: ({ key, buildId, owner }) => void remove.run(key, buildId, owner),
  };
}

/** Runs work in a transaction that takes the write lock first, so that what it reads stays true until it has written. */
export function immediately<T>(database: Database.Database, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const value = work();
    database.exec('COMMIT');
    return value;
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}
