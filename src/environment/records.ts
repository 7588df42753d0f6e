/**
 * What Berth remembers between starts, in one SQLite file: traces (what an evaluation read and what it came to),
 * environments (what a derivation built) and berths. A record is written after the work it describes is done, so that
 * a crash loses work, never truth.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';
import { z } from 'zod';
import { evaluatedConfigSchema, type EvaluatedConfig } from '../nix/evaluated-config.ts';
import { digestOf, digestOfJson, type Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { createRecent } from '../core/recent.ts';
import type { ReadTrace } from '../nix/read-trace.ts';
import type { Environment } from './environment.ts';
import { subjectKey, type Subject } from './subject.ts';

/** One evaluation: what it read and what it said. */
export interface TraceRecord {
  readonly subject: Subject;
  readonly trace: ReadTrace;
  readonly evaluated: EvaluatedConfig;
  /** Set when no evaluator ran: see without-evaluation.ts. */
  readonly how?: 'parsed' | undefined;
}

export interface EnvironmentRecords {
  /** @returns the traces of a subject, the newest first */
  traces(subject: Subject): TraceRecord[];
  /** @returns the newest trace of a config file, of whatever subject */
  newestTraceOf(file: string): TraceRecord | undefined;
  /** Keeps a trace; past `tracesKept` of a subject the oldest is dropped. */
  saveTrace(record: TraceRecord): void;
  /** @param key see environmentKey */
  environment(key: string): Environment | undefined;
  saveEnvironment(key: string, environment: Environment): void;
  /** @returns every environment known, the one used last first, with when it was used (milliseconds since the epoch) */
  environments(): { key: string; environment: Environment; usedAt: number }[];
  /**
   * Says that the environment was used now; garbage collection keeps those that were used lately. Kept in memory until
   * `flush`, because a hit must not wait for the disk.
   */
  touchEnvironment(key: string): void;
  flush(): void;
  /** Forgets an environment and the traces that lead to it. */
  forgetEnvironment(key: string): void;
}

/**
 * The key of an environment: its derivation, and what the config says that is not in the derivation. Two configs of equal
 * meaning share it whatever their text.
 */
export function environmentKey(evaluated: EvaluatedConfig): string {
  const { drvPath, shellHook, command, ports } = evaluated;
  return `${drvPath}#${digestOfJson({ shellHook, command, ports })}`;
}

/** How many evaluations of one config are remembered, so that an edit taken back is a hit. */
const tracesKept = 8;

/** How many records are kept parsed: a hit then costs the same however many are known. Only this process writes them. */
const keptParsed = 128;

const schemaVersion = 1;

const schema = `
  CREATE TABLE traces (
    subject TEXT NOT NULL,
    digest TEXT NOT NULL,
    file TEXT NOT NULL,
    environment_key TEXT NOT NULL,
    record TEXT NOT NULL,
    made INTEGER NOT NULL,
    PRIMARY KEY (subject, digest)
  );
  CREATE INDEX traces_by_environment ON traces (environment_key);
  CREATE INDEX traces_by_file ON traces (file, made);
  CREATE TABLE environments (
    environment_key TEXT PRIMARY KEY,
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
const environmentRowSchema = z.object({ environment_key: z.string(), environment: z.string(), used_at: z.int() });
const traceRecordSchema = z.object({
  subject: z.unknown(),
  trace: z.array(z.unknown()),
  evaluated: evaluatedConfigSchema,
  how: z.literal('parsed').optional(),
});

function toTrace(row: unknown): TraceRecord {
  return traceRecordSchema.parse(JSON.parse(traceRowSchema.parse(row).record)) as TraceRecord;
}

/** The records of traces and environments in the state's database. */
export function createEnvironmentRecords(
  database: Database.Database,
  now: () => number = Date.now,
): EnvironmentRecords {
  const selectTraces = database.prepare('SELECT record FROM traces WHERE subject = ? ORDER BY made DESC');
  const selectNewest = database.prepare('SELECT record FROM traces WHERE file = ? ORDER BY made DESC LIMIT 1');
  const insertTrace = database.prepare(
    `INSERT INTO traces (subject, digest, file, environment_key, record, made) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (subject, digest) DO UPDATE SET environment_key = excluded.environment_key, record = excluded.record, made = excluded.made`,
  );
  const trimTraces = database.prepare(
    `DELETE FROM traces WHERE subject = ?1 AND digest NOT IN
       (SELECT digest FROM traces WHERE subject = ?1 ORDER BY made DESC LIMIT ${tracesKept})`,
  );
  const selectEnvironment = database.prepare(
    'SELECT environment_key, environment, used_at FROM environments WHERE environment_key = ?',
  );
  const selectEnvironments = database.prepare(
    'SELECT environment_key, environment, used_at FROM environments ORDER BY used_at DESC',
  );
  const insertEnvironment = database.prepare(
    `INSERT INTO environments (environment_key, environment, used_at) VALUES (?, ?, ?)
     ON CONFLICT (environment_key) DO UPDATE SET environment = excluded.environment, used_at = excluded.used_at`,
  );
  const touch = database.prepare('UPDATE environments SET used_at = ? WHERE environment_key = ?');
  const deleteEnvironment = database.prepare('DELETE FROM environments WHERE environment_key = ?');
  const deleteTraces = database.prepare('DELETE FROM traces WHERE environment_key = ?');

  const touched = new Map<string, number>();
  const toEnvironment = (row: unknown) => {
    const { environment_key: key, environment, used_at: usedAt } = environmentRowSchema.parse(row);
    return { key, environment: JSON.parse(environment) as Environment, usedAt };
  };

  const parsedTraces = createRecent<string, TraceRecord[]>(keptParsed);
  const parsedEnvironments = createRecent<string, Environment>(keptParsed);

  return {
    traces(subject) {
      const of = subjectKey(subject);
      const parsed = parsedTraces.get(of);
      if (parsed) return parsed;
      const traces = z.array(traceRowSchema).parse(selectTraces.all(of)).map(toTrace);
      parsedTraces.set(of, traces);
      return traces;
    },
    newestTraceOf(file) {
      const row: unknown = selectNewest.get(file);
      return row === undefined ? undefined : toTrace(row);
    },
    saveTrace(record) {
      const { subject, trace, evaluated } = record;
      const of = subjectKey(subject);
      parsedTraces.delete(of);
      insertTrace.run(of, traceIdentity(trace), subject.file, environmentKey(evaluated), JSON.stringify(record), now());
      trimTraces.run(of);
    },
    environment(key) {
      const parsed = parsedEnvironments.get(key);
      if (parsed) return parsed;
      const row: unknown = selectEnvironment.get(key);
      if (row === undefined) return undefined;
      const { environment } = toEnvironment(row);
      parsedEnvironments.set(key, environment);
      return environment;
    },
    saveEnvironment(key, environment) {
      parsedEnvironments.delete(key);
      insertEnvironment.run(key, JSON.stringify(environment), now());
    },
    environments() {
      this.flush();
      return selectEnvironments.all().map(toEnvironment);
    },
    touchEnvironment(key) {
      touched.set(key, now());
    },
    flush() {
      for (const [key, usedAt] of touched) touch.run(usedAt, key);
      touched.clear();
    },
    forgetEnvironment(key) {
      parsedTraces.clear();
      parsedEnvironments.delete(key);
      deleteTraces.run(key);
      deleteEnvironment.run(key);
    },
  };
}

function traceIdentity(trace: ReadTrace): Digest {
  return digestOf(JSON.stringify(trace));
}
