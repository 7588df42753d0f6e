/** How much a store holds, by one query of its database. */
import { join } from 'node:path';
import Database from 'libsql';
import { z } from 'zod';

const statisticsSchema = z.object({ paths: z.int(), bytes: z.int() });

/**
 * @param root the folder whose `nix/store` holds the paths
 * @returns the number of valid paths and the sum of their NAR sizes
 * @throws when the database is not there or can't be read
 */
export function storeStatistics(root: string): z.output<typeof statisticsSchema> {
  const database = new Database(join(root, 'nix/var/nix/db/db.sqlite'), { readonly: true });
  try {
    return statisticsSchema.parse(
      database.prepare('SELECT count(*) AS paths, coalesce(sum(narSize), 0) AS bytes FROM ValidPaths').get([]),
    );
  } finally {
    database.close();
  }
}
