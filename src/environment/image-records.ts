/** The records of images in the state's database: key 4. A record says all that an image is but the bytes of its layers. */
import type Database from 'libsql';
import { z } from 'zod';
import type { Digest } from '../core/digest.ts';
import type { LayerRecord } from '../oci/layer/layer.ts';
import { descriptorSchema, digestSchema } from '../oci/model.ts';

export interface ImageRecord {
  /** Of the manifest. */
  readonly digest: Digest;
  readonly manifest: string;
  readonly config: string;
  readonly architecture: string;
  /** From the bottom up. Null paths: a tree, whose blob is kept. */
  readonly layers: readonly { readonly record: LayerRecord; readonly paths: readonly string[] | null }[];
}

export interface ImageRecords {
  find(key: Digest): ImageRecord | undefined;
  save(key: Digest, record: ImageRecord): void;
  /** Says that the image was used now. */
  touch(key: Digest): void;
  /** @returns all, with when each was used last, in milliseconds since the epoch */
  all(): { readonly key: Digest; readonly record: ImageRecord; readonly usedAt: number }[];
  delete(key: Digest): void;
}

const recordSchema = z.object({
  digest: digestSchema,
  manifest: z.string(),
  config: z.string(),
  architecture: z.string(),
  layers: z.array(
    z.object({
      record: z.object({ descriptor: descriptorSchema, diffId: digestSchema, tarSize: z.number() }),
      paths: z.array(z.string()).nullable(),
    }),
  ),
}) satisfies z.ZodType<ImageRecord>;

const rowSchema = z.object({ image_key: digestSchema, record: z.string(), used_at: z.int() });

const schema = `
  CREATE TABLE IF NOT EXISTS images (image_key TEXT PRIMARY KEY, record TEXT NOT NULL, used_at INTEGER NOT NULL);
`;

/** @param database the state's, as openStateDatabase gives it */
export function createImageRecords(database: Database.Database, now: () => number = Date.now): ImageRecords {
  database.exec(schema);
  const select = database.prepare('SELECT image_key, record, used_at FROM images WHERE image_key = ?');
  const selectAll = database.prepare('SELECT image_key, record, used_at FROM images ORDER BY used_at DESC');
  const insert = database.prepare(
    `INSERT INTO images (image_key, record, used_at) VALUES (?, ?, ?)
     ON CONFLICT (image_key) DO UPDATE SET record = excluded.record, used_at = excluded.used_at`,
  );
  const touch = database.prepare('UPDATE images SET used_at = ? WHERE image_key = ?');
  const remove = database.prepare('DELETE FROM images WHERE image_key = ?');
  const toRecord = (row: unknown) => {
    const { image_key: key, record, used_at: usedAt } = rowSchema.parse(row);
    return { key, record: recordSchema.parse(JSON.parse(record)), usedAt };
  };
  return {
    find(key) {
      const row: unknown = select.get(key);
      return row === undefined ? undefined : toRecord(row).record;
    },
    save: (key, record) => void insert.run(key, JSON.stringify(record), now()),
    touch: (key) => void touch.run(now(), key),
    all: () => selectAll.all().map(toRecord),
    delete: (key) => void remove.run(key),
  };
}
