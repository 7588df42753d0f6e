/** The registry's database: one SQLite file, opened and made here. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';

const schemaVersion = 1;

const schema = `
  CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL,
    subject TEXT,
    artifact_type TEXT,
    annotations TEXT,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    heat REAL NOT NULL,
    cost_ms INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0
  );
  CREATE INDEX manifests_by_subject ON manifests (subject) WHERE subject IS NOT NULL;
  CREATE TABLE repository_manifests (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
  ) WITHOUT ROWID;
  CREATE INDEX repositories_by_manifest ON repository_manifests (digest);
  CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
  ) WITHOUT ROWID;
  CREATE INDEX tags_by_digest ON tags (digest);
  CREATE TABLE manifest_blobs (
    manifest TEXT NOT NULL,
    blob TEXT NOT NULL,
    PRIMARY KEY (manifest, blob)
  ) WITHOUT ROWID;
  CREATE INDEX manifests_by_blob ON manifest_blobs (blob);
  CREATE TABLE manifest_children (
    manifest TEXT NOT NULL,
    child TEXT NOT NULL,
    PRIMARY KEY (manifest, child)
  ) WITHOUT ROWID;
  CREATE INDEX parents_by_child ON manifest_children (child);
  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE repository_blobs (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
  ) WITHOUT ROWID;
  CREATE INDEX repositories_by_blob ON repository_blobs (digest);
  CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    started_at INTEGER NOT NULL
  ) WITHOUT ROWID;
`;

/**
 * Opens the registry's database and makes it when it is not there.
 * @throws BerthError STATE_TOO_NEW when a later Berth wrote it
 */
export function openRegistryDatabase(file: string): Database.Database {
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
