/** The generations of a berth: each environment that it had, numbered, so that it can have it again. */
import type Database from 'libsql';
import { z } from 'zod';
import type { Digest } from '../core/digest.ts';
import { evaluatedConfigSchema, type EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { GenerationDifference } from './generation-difference.ts';

/** What gave a berth the environment. `inside`: a command in the berth itself. */
export type GenerationOrigin = 'up' | 'add' | 'remove' | 'watch' | 'rollback' | 'inside';

export interface Generation {
  readonly number: number;
  /** ISO 8601. */
  readonly at: string;
  readonly origin: GenerationOrigin;
  /** Of a rollback: the generation whose environment it has. */
  readonly of?: number;
  readonly environmentDigest: Digest;
  readonly configDigest: Digest;
  /** What the config meant: all that is needed to have the environment again without evaluating. */
  readonly evaluated: EvaluatedConfig;
  /** Against the generation before; null for a berth's first. */
  readonly difference: GenerationDifference | null;
}

export interface Generations {
  /** @returns those of a berth by its name, the newest first */
  of(berth: string): Generation[];
  all(): Generation[];
  /** @returns the names of the berths that have some */
  berths(): string[];
  /** @returns the number that the berth's next one has; a number is not used again */
  next(berth: string): number;
  save(berth: string, generation: Generation): void;
  delete(berth: string, number: number): void;
  deleteAll(berth: string): void;
  /**
   * Forgets what is past the newest `keep`, but none from `since` on: processes that run may have those.
   * @returns the numbers that are left
   */
  trim(berth: string, keep: number, since: number): Set<number>;
}

const version = z.object({ name: z.string(), version: z.string() });
const digest = z.string() as unknown as z.ZodType<Digest>;
const generationSchema = z.object({
  number: z.int(),
  at: z.string(),
  origin: z.enum(['up', 'add', 'remove', 'watch', 'rollback', 'inside']),
  of: z.int().exactOptional(),
  environmentDigest: digest,
  configDigest: digest,
  evaluated: evaluatedConfigSchema,
  difference: z
    .object({
      added: z.array(version),
      removed: z.array(version),
      updated: z.array(z.object({ name: z.string(), from: z.string(), to: z.string() })),
      variables: z.int().nullable(),
    })
    .nullable(),
}) satisfies z.ZodType<Generation>;

// No foreign key: a berth that is made anew, in place of one that does not fit, goes on with the same history.
const schema = `
  CREATE TABLE IF NOT EXISTS generations (
    berth TEXT NOT NULL,
    number INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (berth, number)
  );
`;
const recordRow = z.object({ record: z.string() });
const nameRow = z.object({ berth: z.string() });
const numberRow = z.object({ number: z.int().nullable() });

/** @param database the state's, as openStateDatabase gives it */
export function createGenerations(database: Database.Database): Generations {
  database.exec(schema);
  const select = database.prepare('SELECT record FROM generations WHERE berth = ? ORDER BY number DESC');
  const selectAll = database.prepare('SELECT record FROM generations');
  const selectNames = database.prepare('SELECT DISTINCT berth FROM generations');
  const newest = database.prepare('SELECT max(number) AS number FROM generations WHERE berth = ?');
  const insert = database.prepare(
    `INSERT INTO generations (berth, number, record) VALUES (?, ?, ?)
     ON CONFLICT (berth, number) DO UPDATE SET record = excluded.record`,
  );
  const remove = database.prepare('DELETE FROM generations WHERE berth = ? AND number = ?');
  const removeAll = database.prepare('DELETE FROM generations WHERE berth = ?');
  const removeOld = database.prepare(
    `DELETE FROM generations WHERE berth = ?1 AND number < ?3 AND number NOT IN
       (SELECT number FROM generations WHERE berth = ?1 ORDER BY number DESC LIMIT ?2)`,
  );
  const toGeneration = (row: unknown): Generation => generationSchema.parse(JSON.parse(recordRow.parse(row).record));
  const of = (berth: string) => select.all(berth).map(toGeneration);
  return {
    of,
    all: () => selectAll.all().map(toGeneration),
    berths: () => selectNames.all().map((row) => nameRow.parse(row).berth),
    next: (berth) => (numberRow.parse(newest.get(berth)).number ?? 0) + 1,
    save: (berth, generation) => void insert.run(berth, generation.number, JSON.stringify(generation)),
    delete: (berth, number) => void remove.run(berth, number),
    deleteAll: (berth) => void removeAll.run(berth),
    trim(berth, keep, since) {
      removeOld.run(berth, keep, since);
      return new Set(of(berth).map(({ number }) => number));
    },
  };
}
