/** Which library trees there are, in the state's database. */
import type Database from 'libsql';
import { z } from 'zod';
import type { Digest } from '../core/digest.ts';
import type { LibraryRecords, LibraryTree } from '../libraries/libraries.ts';
import { isStorePath, type StorePath } from '../nix/store.ts';

export interface KeptLibraryRecords extends LibraryRecords {
  /** @returns all trees, with when each was used last (milliseconds since the epoch) */
  all(): { readonly tree: LibraryTree; readonly usedAt: number }[];
  delete(key: Digest): void;
}

const schema = `
  CREATE TABLE IF NOT EXISTS libraries (key TEXT PRIMARY KEY, tree TEXT NOT NULL, used_at INTEGER NOT NULL);
`;
const rowSchema = z.object({ tree: z.string(), used_at: z.int() });
const treeSchema = z.object({
  manager: z.enum(['npm', 'python', 'cargo', 'go']),
  key: z.string() as unknown as z.ZodType<Digest>,
  storePath: z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value)),
  packages: z.array(z.object({ name: z.string(), version: z.string(), purl: z.string() })),
  place: z.object({
    mounts: z.array(z.object({ folder: z.string(), target: z.string() })),
    variables: z.record(z.string(), z.string()),
    path: z.array(z.string()),
  }),
}) satisfies z.ZodType<LibraryTree>;

/** A use is written down this often at most. */
const touchMs = 60 * 60 * 1000;

/** @param database the state's, as openStateDatabase gives it */
export function createLibraryRecords(database: Database.Database, now: () => number = Date.now): KeptLibraryRecords {
  database.exec(schema);
  const select = database.prepare('SELECT tree, used_at FROM libraries WHERE key = ?');
  const selectAll = database.prepare('SELECT tree, used_at FROM libraries');
  const insert = database.prepare(
    `INSERT INTO libraries (key, tree, used_at) VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET tree = excluded.tree, used_at = excluded.used_at`,
  );
  const touch = database.prepare('UPDATE libraries SET used_at = ? WHERE key = ? AND used_at < ?');
  const remove = database.prepare('DELETE FROM libraries WHERE key = ?');
  const read = (row: unknown) => {
    const { tree, used_at: usedAt } = rowSchema.parse(row);
    return { tree: treeSchema.parse(JSON.parse(tree)), usedAt };
  };
  return {
    get(key) {
      const row = select.get(key);
      return row === undefined ? undefined : read(row).tree;
    },
    save: (tree) => void insert.run(tree.key, JSON.stringify(tree), now()),
    touch: (key) => void touch.run(now(), key, now() - touchMs),
    all: () => selectAll.all().map(read),
    delete: (key) => void remove.run(key),
  };
}

/** @returns the name of the root that keeps a tree */
export function libraryRootOf(key: Digest): string {
  return `libraries-${key.slice('sha256:'.length, 'sha256:'.length + 32)}`;
}
