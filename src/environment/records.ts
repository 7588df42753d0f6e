/**
 * What Berth remembers between starts, in one SQLite file: traces (what an evaluation read and what it came to),
 * environments (what a derivation built) and berths. A record is written after the work it describes is done, so that
 * a crash loses work, never truth.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';
import { z } from 'zod';
import { evaluatedConfigSchema, type EvaluatedConfig } from '../config/evaluated-config.ts';
import { digestOf, type Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import type { ReadTrace } from '../nix/read-trace.ts';
import type { Environment } from './environment.ts';

/** One evaluation: what it read and what it said. */
export interface TraceRecord {
  readonly trace: ReadTrace;
  readonly evaluated: EvaluatedConfig;
}

export interface EnvironmentRecords {
  /** @returns the traces of a subject, the one used last first */
  traces(subject: Digest): TraceRecord[];
  /** Keeps a trace; past `tracesKept` of a subject the one unused for longest is dropped. */
  saveTrace(subject: Digest, record: TraceRecord): void;
  /** @returns the environment that a derivation built */
  environment(drvPath: string): Environment | undefined;
  saveEnvironment(drvPath: string, environment: Environment): void;
  /** @returns every environment known, the one used last first, with when it was used (milliseconds since the epoch) */
  environments(): { drvPath: string; environment: Environment; usedAt: number }[];
  /**
   * Says that the environment was used now; garbage collection keeps those that were used lately. Kept in memory until
   * `flush`, because a hit must not wait for the disk.
   */
  touchEnvironment(drvPath: string): void;
  flush(): void;
  /** Forgets an environment and the traces that lead to it. */
  forgetEnvironment(drvPath: string): void;
}

/** How many evaluations of one config are remembered, so that an edit taken back is a hit. */
const tracesKept = 8;

const schemaVersion = 1;

const schema = `
  CREATE TABLE traces (
    subject TEXT NOT NULL,
    digest TEXT NOT NULL,
    drv_path TEXT NOT NULL,
    record TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (subject, digest)
  );
  CREATE INDEX traces_by_derivation ON traces (drv_path);
  CREATE TABLE environments (
    drv_path TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    used_at INTEGER NOT NULL
  );
  CREATE TABLE berths (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
  );
`;

/**
 * Opens the state's database and makes it when it is not there.
 * @throws BerthError STATE_TOO_NEW when a later Berth wrote it
 */
export function openStateDatabase(file: string): Database.Database {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new Database(file);
  database.pragma('journal_mode = WAL');
  // FULL: what was acknowledged is on the disk even if the machine stops at once.
  database.pragma('synchronous = FULL');
  database.pragma('busy_timeout = 5000');
  const version = z
    .array(z.object({ user_version: z.int() }))
    .parse(database.prepare('PRAGMA user_version').all())[0]?.user_version;
  if (version === 0) {
    database.exec(`BEGIN; ${schema} PRAGMA user_version = ${schemaVersion}; COMMIT;`);
  } else if (version !== schemaVersion) {
    throw new BerthError(
      'STATE_TOO_NEW',
      `${file} has schema version ${String(version)}; this Berth knows ${schemaVersion}.`,
    );
  }
  return database;
}

const traceRowSchema = z.object({ record: z.string() });
const environmentRowSchema = z.object({ drv_path: z.string(), environment: z.string(), used_at: z.int() });
const traceRecordSchema = z.object({ trace: z.array(z.unknown()), evaluated: evaluatedConfigSchema });

/** The records of traces and environments in the state's database. */
export function createEnvironmentRecords(
  database: Database.Database,
  now: () => number = Date.now,
): EnvironmentRecords {
  const selectTraces = database.prepare('SELECT record FROM traces WHERE subject = ? ORDER BY used DESC');
  const insertTrace = database.prepare(
    `INSERT INTO traces (subject, digest, drv_path, record, used) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (subject, digest) DO UPDATE SET drv_path = excluded.drv_path, record = excluded.record, used = excluded.used`,
  );
  const trimTraces = database.prepare(
    `DELETE FROM traces WHERE subject = ?1 AND digest NOT IN
       (SELECT digest FROM traces WHERE subject = ?1 ORDER BY used DESC LIMIT ${tracesKept})`,
  );
  const selectEnvironment = database.prepare(
    'SELECT drv_path, environment, used_at FROM environments WHERE drv_path = ?',
  );
  const selectEnvironments = database.prepare(
    'SELECT drv_path, environment, used_at FROM environments ORDER BY used_at DESC',
  );
  const insertEnvironment = database.prepare(
    `INSERT INTO environments (drv_path, environment, used_at) VALUES (?, ?, ?)
     ON CONFLICT (drv_path) DO UPDATE SET environment = excluded.environment, used_at = excluded.used_at`,
  );
  const touch = database.prepare('UPDATE environments SET used_at = ? WHERE drv_path = ?');
  const deleteEnvironment = database.prepare('DELETE FROM environments WHERE drv_path = ?');
  const deleteTraces = database.prepare('DELETE FROM traces WHERE drv_path = ?');

  const touched = new Map<string, number>();
  const toEnvironment = (row: unknown) => {
    const { drv_path, environment, used_at } = environmentRowSchema.parse(row);
    return { drvPath: drv_path, environment: JSON.parse(environment) as Environment, usedAt: used_at };
  };

  return {
    traces(subject) {
      return z
        .array(traceRowSchema)
        .parse(selectTraces.all(subject))
        .map((row) => traceRecordSchema.parse(JSON.parse(row.record)) as TraceRecord);
    },
    saveTrace(subject, record) {
      const text = JSON.stringify(record);
      insertTrace.run(subject, traceIdentity(record.trace), record.evaluated.drvPath, text, now());
      trimTraces.run(subject);
    },
    environment(drvPath) {
      const row: unknown = selectEnvironment.get(drvPath);
      return row === undefined ? undefined : toEnvironment(row).environment;
    },
    saveEnvironment(drvPath, environment) {
      insertEnvironment.run(drvPath, JSON.stringify(environment), now());
    },
    environments() {
      this.flush();
      return selectEnvironments.all().map(toEnvironment);
    },
    touchEnvironment(drvPath) {
      touched.set(drvPath, now());
    },
    flush() {
      for (const [drvPath, usedAt] of touched) touch.run(usedAt, drvPath);
      touched.clear();
    },
    forgetEnvironment(drvPath) {
      deleteTraces.run(drvPath);
      deleteEnvironment.run(drvPath);
    },
  };
}

function traceIdentity(trace: ReadTrace): Digest {
  return digestOf(JSON.stringify(trace));
}
