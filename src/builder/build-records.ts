/** The records of builds in the state's database: what was asked for, how it went, and what it can be taken up again from. */
import type Database from 'libsql';
import { z } from 'zod';
import type { ErrorReport } from '../core/errors.ts';
import type { BuildState } from './builder.ts';
import { priorities, type Priority } from './fair-queue.ts';

export interface BuildRecord {
  readonly id: string;
  readonly key: string;
  readonly kind: string;
  readonly title: string;
  readonly tenant: string;
  readonly priority: Priority;
  readonly state: BuildState;
  readonly attempts: number;
  /** Null where it can't be made again. */
  readonly resume: unknown;
  /** What came out, as JSON. */
  readonly result: unknown;
  readonly error: ErrorReport | null;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
}

export interface BuildRecords {
  save(record: BuildRecord): void;
  find(id: string): BuildRecord | undefined;
  /** The newest first. */
  list(options: { readonly active: boolean; readonly limit: number }): BuildRecord[];
  /** Those of a key that have not ended. */
  activeOf(key: string): BuildRecord[];
  /** When a key has failed since it last succeeded, and the last error. */
  failuresOf(key: string): { readonly at: readonly number[]; readonly last: ErrorReport | null };
  /** Forgets what has ended, but for the newest. @returns the ids that were forgotten */
  trim(kept: number): string[];
}

const schema = `
  CREATE TABLE IF NOT EXISTS builds (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    tenant TEXT NOT NULL,
    priority TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    resume TEXT,
    result TEXT,
    error TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER
  );
  CREATE INDEX IF NOT EXISTS builds_by_key ON builds (key, finished_at);
  CREATE INDEX IF NOT EXISTS builds_by_state ON builds (state, created_at);
`;

const json = z
  .string()
  .nullable()
  .transform((text): unknown => (text === null ? null : JSON.parse(text)));
const rowSchema = z.object({
  id: z.string(),
  key: z.string(),
  kind: z.string(),
  title: z.string(),
  tenant: z.string(),
  priority: z.enum(priorities),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  attempts: z.int(),
  resume: json,
  result: json,
  error: json,
  created_at: z.int(),
  started_at: z.int().nullable(),
  finished_at: z.int().nullable(),
});

function toRecord(row: unknown): BuildRecord {
  const {
    created_at: createdAt,
    started_at: startedAt,
    finished_at: finishedAt,
    error,
    ...rest
  } = rowSchema.parse(row);
  return { ...rest, error: error as ErrorReport | null, createdAt, startedAt, finishedAt };
}

const toText = (value: unknown) => (value === undefined || value === null ? null : JSON.stringify(value));

/** How many failures of a key are looked at. */
const failuresSeen = 32;

export function createBuildRecords(database: Database.Database): BuildRecords {
  database.exec(schema);
  const insert = database.prepare(
    `INSERT INTO builds (id, key, kind, title, tenant, priority, state, attempts, resume, result, error, created_at, started_at, finished_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET priority = excluded.priority, state = excluded.state, attempts = excluded.attempts,
       result = excluded.result, error = excluded.error, started_at = excluded.started_at, finished_at = excluded.finished_at`,
  );
  const selectOne = database.prepare('SELECT * FROM builds WHERE id = ?');
  const selectAll = database.prepare('SELECT * FROM builds ORDER BY created_at DESC, rowid DESC LIMIT ?');
  const selectActive = database.prepare(
    `SELECT * FROM builds WHERE state IN ('queued', 'running') ORDER BY created_at DESC, rowid DESC LIMIT ?`,
  );
  const selectActiveOf = database.prepare(`SELECT * FROM builds WHERE key = ? AND state IN ('queued', 'running')`);
  const selectEnded = database.prepare(
    `SELECT state, error, finished_at FROM builds WHERE key = ? AND state IN ('succeeded', 'failed')
     ORDER BY finished_at DESC, rowid DESC LIMIT ${failuresSeen}`,
  );
  const oldest = `SELECT id FROM builds WHERE state NOT IN ('queued', 'running')
    ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?`;
  const selectOldest = database.prepare(oldest);
  const deleteOldest = database.prepare(`DELETE FROM builds WHERE id IN (${oldest})`);

  return {
    save(record) {
      const { id, key, kind, title, tenant, priority, state, attempts, createdAt, startedAt, finishedAt } = record;
      const [resume, result, error] = [record.resume, record.result, record.error].map(toText);
      const names = [id, key, kind, title, tenant, priority, state, attempts];
      insert.run(...names, resume, result, error, createdAt, startedAt, finishedAt);
    },
    find(id) {
      const row: unknown = selectOne.get(id);
      return row === undefined ? undefined : toRecord(row);
    },
    list: ({ active, limit }) => (active ? selectActive : selectAll).all(limit).map(toRecord),
    activeOf: (key) => selectActiveOf.all(key).map(toRecord),
    failuresOf(key) {
      const rows = z
        .array(z.object({ state: z.string(), error: json, finished_at: z.int().nullable() }))
        .parse(selectEnded.all(key));
      const success = rows.findIndex(({ state }) => state === 'succeeded');
      const failed = (success < 0 ? rows : rows.slice(0, success)).map(({ error, finished_at: at }) => ({
        error: error as ErrorReport | null,
        at: at ?? 0,
      }));
      // What the system was at fault for says nothing about the config.
      const counted = failed.filter(({ error }) => error?.fault !== 'system');
      return { at: counted.map(({ at }) => at), last: counted[0]?.error ?? null };
    },
    trim(kept) {
      const ids = z.array(z.object({ id: z.string() })).parse(selectOldest.all(kept));
      if (ids.length > 0) deleteOldest.run(kept);
      return ids.map(({ id }) => id);
    },
  };
}
