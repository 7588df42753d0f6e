/** Records of what is kept in the store besides berths' environments: seeds, and the revisions of sources in use. */
import type Database from 'libsql';
import { z } from 'zod';
import { digestOfJson } from '../core/digest.ts';
import { isStorePath, type StorePath } from '../nix/store.ts';
import type { Json, LockedSource } from '../sources/source.ts';
import type { TraceRecord } from './records.ts';

const storePath = z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value));
const json = z.json() as unknown as z.ZodType<Json>;
export const lockedSourceSchema = z.object({
  kind: z.enum(['debian', 'nixpkgs', 'path']),
  label: z.string(),
  pin: z.record(z.string(), json),
}) satisfies z.ZodType<LockedSource>;

/** Also read from archives of other machines, so everything in it is checked. */
export const seedRecordSchema = z.object({
  name: z.string().min(1).max(4096),
  kind: z.enum(['package', 'config']),
  /** What it keeps, with all that this needs. */
  storePath,
  sources: z.record(z.string(), lockedSourceSchema),
  packages: z.array(z.object({ name: z.string(), version: z.string(), source: z.string() })),
  createdAt: z.iso.datetime(),
});
export type SeedRecord = z.infer<typeof seedRecordSchema>;

/** A locked revision of a source that was brought into the store. */
export const keptSourceSchema = z.object({ locked: lockedSourceSchema, storePaths: z.array(storePath) });
export interface KeptSource {
  readonly locked: LockedSource;
  readonly storePaths: readonly StorePath[];
}

/** One evaluation that is remembered, and when its environment was last used. */
export interface Usage {
  /** The config. */
  readonly file: string;
  readonly environmentKey: string;
  readonly packages: TraceRecord['evaluated']['packages'];
  readonly sources: Readonly<Record<string, LockedSource>>;
  /** Milliseconds since the epoch; null when its environment is not there. */
  readonly usedAt: number | null;
}

export interface StorageRecords {
  seeds(): SeedRecord[];
  saveSeed(seed: SeedRecord): void;
  /** @returns whether there was one */
  deleteSeed(name: string): boolean;
  /** @returns the sources with the lock files that use them, the one used last first */
  sources(): (KeptSource & { readonly lockFiles: readonly string[]; readonly usedAt: number })[];
  /** Says that the lock file uses the source now. */
  saveSource(source: KeptSource, lockFile: string | undefined): void;
  deleteSource(locked: LockedSource): void;
  usage(): Usage[];
  /** Forgets evaluations from before that time whose environment is not there. @returns how many there are */
  staleTraces(before: number): number;
  deleteStaleTraces(before: number): void;
}

const schema = `
  CREATE TABLE IF NOT EXISTS seeds (name TEXT PRIMARY KEY, record TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS sources (
    digest TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    lock_files TEXT NOT NULL,
    used_at INTEGER NOT NULL
  );
`;
const stale = 'made < ? AND environment_key NOT IN (SELECT environment_key FROM environments)';
const recordRow = z.object({ record: z.string() });
const sourceRow = z.object({ record: z.string(), lock_files: z.string(), used_at: z.int() });
const usageRow = z.object({
  file: z.string(),
  environment_key: z.string(),
  record: z.string(),
  used_at: z.int().nullable(),
});

/** @param database the state's, as openStateDatabase gives it */
export function createStorageRecords(database: Database.Database, now: () => number = Date.now): StorageRecords {
  database.exec(schema);
  const selectSeeds = database.prepare('SELECT record FROM seeds ORDER BY name');
  const insertSeed = database.prepare(
    'INSERT INTO seeds (name, record) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record',
  );
  const removeSeed = database.prepare('DELETE FROM seeds WHERE name = ?');
  const selectSources = database.prepare('SELECT record, lock_files, used_at FROM sources ORDER BY used_at DESC');
  const selectSource = database.prepare('SELECT record, lock_files, used_at FROM sources WHERE digest = ?');
  const insertSource = database.prepare(
    `INSERT INTO sources (digest, record, lock_files, used_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (digest) DO UPDATE SET record = excluded.record, lock_files = excluded.lock_files, used_at = excluded.used_at`,
  );
  const removeSource = database.prepare('DELETE FROM sources WHERE digest = ?');
  const selectUsage = database.prepare(
    `SELECT t.file, t.environment_key, t.record, e.used_at
     FROM traces t LEFT JOIN environments e ON e.environment_key = t.environment_key`,
  );
  const countStale = database.prepare(`SELECT count(*) AS count FROM traces WHERE ${stale}`);
  const removeStale = database.prepare(`DELETE FROM traces WHERE ${stale}`);
  const lockFilesOf = (text: string) => z.array(z.string()).parse(JSON.parse(text));

  return {
    seeds: () => selectSeeds.all().map((row) => seedRecordSchema.parse(JSON.parse(recordRow.parse(row).record))),
    saveSeed: (seed) => void insertSeed.run(seed.name, JSON.stringify(seed)),
    deleteSeed: (name) => removeSeed.run(name).changes > 0,
    sources: () =>
      selectSources.all().map((row) => {
        const { record, lock_files: lockFiles, used_at: usedAt } = sourceRow.parse(row);
        return { ...keptSourceSchema.parse(JSON.parse(record)), lockFiles: lockFilesOf(lockFiles), usedAt };
      }),
    saveSource(source, lockFile) {
      const digest = digestOfJson(source.locked);
      const known: unknown = selectSource.get(digest);
      const files = known === undefined ? [] : lockFilesOf(sourceRow.parse(known).lock_files);
      if (lockFile !== undefined && !files.includes(lockFile)) files.push(lockFile);
      insertSource.run(digest, JSON.stringify(source), JSON.stringify(files), now());
    },
    deleteSource: (locked) => void removeSource.run(digestOfJson(locked)),
    usage: () =>
      selectUsage.all().map((row) => {
        const { file, environment_key: environmentKey, record, used_at: usedAt } = usageRow.parse(row);
        const { evaluated, subject } = JSON.parse(record) as TraceRecord;
        return { file, environmentKey, packages: evaluated.packages, sources: subject.sources, usedAt };
      }),
    staleTraces: (before) => z.object({ count: z.int() }).parse(countStale.get(before)).count,
    deleteStaleTraces: (before) => void removeStale.run(before),
  };
}
