/** The adapter of ManifestStore over SQLite. */
import type Database from 'libsql';
import { z } from 'zod';
import { blobDigestSchema } from '../../oci/blobs/blob-store.ts';
import type { ManifestStore, StoredManifest } from '../manifest-store.ts';
import { sqliteImages } from './images.ts';

const manifestRow = z.object({
  digest: blobDigestSchema,
  media_type: z.string(),
  bytes: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
});
const referrerRow = z.object({
  digest: blobDigestSchema,
  media_type: z.string(),
  size: z.int(),
  artifact_type: z.string().nullable(),
  annotations: z.string().nullable(),
});
const uploadRow = z.object({ id: z.string(), repository: z.string(), started_at: z.int() });
const blobRow = z.object({ digest: blobDigestSchema, size: z.int(), created_at: z.int() });

/** How often it is written down which images were used. */
const flushMs = 60_000;

/** @param database as openRegistryDatabase gives it; it is closed with the store */
export function sqliteManifests(database: Database.Database, now: () => number = Date.now): ManifestStore {
  const sql = (text: string) => database.prepare(text);
  const byTag = sql(
    `SELECT m.digest, m.media_type, m.bytes FROM tags t JOIN manifests m ON m.digest = t.digest
     WHERE t.repository = ? AND t.tag = ?`,
  );
  const byDigest = sql(
    `SELECT m.digest, m.media_type, m.bytes FROM repository_manifests r JOIN manifests m ON m.digest = r.digest
     WHERE r.repository = ? AND r.digest = ?`,
  );
  const hasManifest = sql('SELECT 1 FROM repository_manifests WHERE repository = ? AND digest = ?');
  const insertManifest = sql(
    `INSERT INTO manifests (digest, media_type, bytes, subject, artifact_type, annotations, created_at, used_at, heat, cost_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1, ?8)
     ON CONFLICT (digest) DO UPDATE SET used_at = excluded.used_at, cost_ms = coalesce(excluded.cost_ms, cost_ms)`,
  );
  const insertClaim = sql('INSERT OR IGNORE INTO repository_manifests (repository, digest) VALUES (?, ?)');
  const insertManifestBlob = sql('INSERT OR IGNORE INTO manifest_blobs (manifest, blob) VALUES (?, ?)');
  const insertChild = sql('INSERT OR IGNORE INTO manifest_children (manifest, child) VALUES (?, ?)');
  const insertTag = sql(
    `INSERT INTO tags (repository, tag, digest) VALUES (?, ?, ?)
     ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest`,
  );
  const deleteClaim = sql('DELETE FROM repository_manifests WHERE repository = ? AND digest = ?');
  const deleteTagsOf = sql('DELETE FROM tags WHERE repository = ? AND digest = ?');
  const deleteTag = sql('DELETE FROM tags WHERE repository = ? AND tag = ?');
  const isClaimed = sql('SELECT 1 FROM repository_manifests WHERE digest = ? LIMIT 1');
  const forgetManifest = [
    'DELETE FROM manifest_blobs WHERE manifest = ?',
    'DELETE FROM manifest_children WHERE manifest = ?',
    'DELETE FROM manifests WHERE digest = ?',
  ].map(sql);
  const selectTags = sql('SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?');
  const isRepository = sql(
    `SELECT 1 WHERE EXISTS (SELECT 1 FROM repository_manifests WHERE repository = ?1)
     OR EXISTS (SELECT 1 FROM repository_blobs WHERE repository = ?1)`,
  );
  const selectRepositories = sql(
    'SELECT DISTINCT repository FROM repository_manifests WHERE repository > ? ORDER BY repository LIMIT ?',
  );
  const selectReferrers = sql(
    `SELECT m.digest, m.media_type, length(m.bytes) AS size, m.artifact_type, m.annotations
     FROM manifests m JOIN repository_manifests r ON r.digest = m.digest
     WHERE m.subject = ?2 AND r.repository = ?1 ORDER BY m.created_at, m.digest`,
  );
  const selectRepositoryBlob = sql(
    `SELECT b.size FROM repository_blobs r JOIN blobs b ON b.digest = r.digest WHERE r.repository = ? AND r.digest = ?`,
  );
  const insertRepositoryBlob = sql('INSERT OR IGNORE INTO repository_blobs (repository, digest) VALUES (?, ?)');
  const deleteRepositoryBlob = sql('DELETE FROM repository_blobs WHERE repository = ? AND digest = ?');
  const selectRepositoriesOf = sql('SELECT repository FROM repository_blobs WHERE digest = ? ORDER BY repository');
  const selectBlob = sql('SELECT size FROM blobs WHERE digest = ?');
  const selectBlobs = sql('SELECT digest, size, created_at FROM blobs');
  const insertBlob = sql(
    `INSERT INTO blobs (digest, size, created_at) VALUES (?, ?, ?)
     ON CONFLICT (digest) DO UPDATE SET size = excluded.size, created_at = excluded.created_at`,
  );
  const deleteBlob = sql('DELETE FROM blobs WHERE digest = ?');
  const deleteBlobClaims = sql('DELETE FROM repository_blobs WHERE digest = ?');
  const selectManifestsOf = sql('SELECT manifest FROM manifest_blobs WHERE blob = ?');
  const isReferenced = sql('SELECT 1 FROM manifest_blobs WHERE blob = ? LIMIT 1');
  const insertUpload = sql('INSERT INTO uploads (id, repository, started_at) VALUES (?, ?, ?)');
  const selectUpload = sql('SELECT id, repository, started_at FROM uploads WHERE id = ?');
  const selectUploads = sql('SELECT id, repository, started_at FROM uploads');
  const deleteUpload = sql('DELETE FROM uploads WHERE id = ?');

  const inTransaction = <T>(work: () => T): T => {
    database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      database.exec('COMMIT');
      return result;
    } catch (error) {
      database.exec('ROLLBACK');
      throw error;
    }
  };
  const sizeOf = (row: unknown) => (row === undefined ? undefined : z.object({ size: z.int() }).parse(row).size);
  const toManifest = (row: unknown): StoredManifest | undefined => {
    if (row === undefined) return undefined;
    const { digest, media_type: mediaType, bytes } = manifestRow.parse(row);
    return { digest, mediaType, bytes };
  };
  const toUpload = (row: unknown) => {
    const { id, repository, started_at: startedAt } = uploadRow.parse(row);
    return { id, repository, startedAt };
  };
  const column = (rows: unknown[], name: string) =>
    rows.map((row) => z.record(z.string(), z.string()).parse(row)[name] ?? '');

  const images = sqliteImages(database, inTransaction, now);
  const flushing = setInterval(() => images.flush(), flushMs);
  flushing.unref();

  return {
    ...images,
    manifest: (repository, reference) =>
      toManifest(
        'tag' in reference ? byTag.get(repository, reference.tag) : byDigest.get(repository, reference.digest),
      ),
    hasManifest: (repository, digest) => hasManifest.get(repository, digest) !== undefined,
    putManifest(repository, manifest, tags) {
      const { digest, mediaType, bytes, subject, artifactType, annotations, costMs } = manifest;
      inTransaction(() => {
        insertManifest.run(
          digest,
          mediaType,
          Buffer.from(bytes),
          subject ?? null,
          artifactType ?? null,
          annotations ? JSON.stringify(annotations) : null,
          now(),
          costMs === undefined ? null : Math.round(costMs),
        );
        insertClaim.run(repository, digest);
        for (const blob of manifest.blobs) {
          insertManifestBlob.run(digest, blob.digest);
          insertRepositoryBlob.run(repository, blob.digest);
        }
        for (const child of manifest.children) insertChild.run(digest, child);
        for (const tag of tags) insertTag.run(repository, tag, digest);
      });
    },
    deleteManifest: (repository, digest) =>
      inTransaction(() => {
        deleteTagsOf.run(repository, digest);
        if (deleteClaim.run(repository, digest).changes === 0) return false;
        if (isClaimed.get(digest) === undefined) for (const statement of forgetManifest) statement.run(digest);
        return true;
      }),
    deleteTag: (repository, tag) => deleteTag.run(repository, tag).changes > 0,
    tags(repository, { limit, last }) {
      const tags = column(selectTags.all(repository, last ?? '', limit), 'tag');
      return tags.length > 0 || isRepository.get(repository) !== undefined ? tags : undefined;
    },
    repositories: ({ limit, last }) => column(selectRepositories.all(last ?? '', limit), 'repository'),
    referrers: (repository, subject, artifactType) =>
      selectReferrers
        .all(repository, subject)
        .map((row) => {
          const found = referrerRow.parse(row);
          return {
            mediaType: found.media_type,
            digest: found.digest,
            size: found.size,
            ...(found.artifact_type === null ? {} : { artifactType: found.artifact_type }),
            ...(found.annotations === null
              ? {}
              : { annotations: z.record(z.string(), z.string()).parse(JSON.parse(found.annotations)) }),
          };
        })
        .filter((descriptor) => artifactType === undefined || descriptor.artifactType === artifactType),

    blob: (repository, digest) => sizeOf(selectRepositoryBlob.get(repository, digest)),
    addBlob: (repository, digest) => void insertRepositoryBlob.run(repository, digest),
    removeBlob: (repository, digest) => deleteRepositoryBlob.run(repository, digest).changes > 0,
    repositoriesOf: (digest) => column(selectRepositoriesOf.all(digest), 'repository'),

    knownBlob: (digest) => sizeOf(selectBlob.get(digest)),
    knownBlobs: () =>
      selectBlobs.all().map((row) => {
        const { digest, size, created_at: createdAt } = blobRow.parse(row);
        return { digest, size, createdAt };
      }),
    recordBlob: (digest, size) => void insertBlob.run(digest, size, now()),
    forgetBlob: (digest) =>
      inTransaction(() => {
        deleteBlob.run(digest);
        deleteBlobClaims.run(digest);
      }),
    manifestsOf: (digest) =>
      selectManifestsOf.all(digest).map((row) => z.object({ manifest: blobDigestSchema }).parse(row).manifest),
    isNeeded: (digest) => isReferenced.get(digest) !== undefined,

    addUpload: (id, repository) => void insertUpload.run(id, repository, now()),
    upload(id) {
      const row: unknown = selectUpload.get(id);
      return row === undefined ? undefined : toUpload(row);
    },
    removeUpload: (id) => void deleteUpload.run(id),
    uploads: () => selectUploads.all().map(toUpload),

    close() {
      clearInterval(flushing);
      images.flush();
      database.close();
    },
  };
}
