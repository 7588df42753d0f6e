/** The records of berths in the state's database: what was asked for, so that a berth can be started again. */
import type Database from 'libsql';
import { z } from 'zod';
import type { Digest } from '../core/digest.ts';
import type { BerthSpec, Engine } from '../engine/engine.ts';
import type { UpRequest } from './service.ts';

export interface BerthRecord {
  readonly spec: BerthSpec;
  readonly engine: Engine['name'];
  /** The config's path as the command gave it, absolute. */
  readonly path: string;
  readonly directory: string;
  readonly environmentDigest: Digest;
  /** The derivation of the environment: the garbage collector keeps what it built. */
  readonly drvPath: string;
  readonly createdAt: string;
  /** Of its environment: see generations.ts. */
  readonly generation: number;
  /** The generation with which its container was started: processes in it may have any from then on. */
  readonly startedWith: number;
  /** What the last `up` asked for, so that a later switch of another origin asks for the same. */
  readonly request: UpRequest;
  /** Removed when the command that it was made for has ended. */
  readonly ephemeral: boolean;
}

export interface BerthRecords {
  find(nameOrId: string): BerthRecord | undefined;
  all(): BerthRecord[];
  /** @param also what is recorded in the same transaction */
  save(record: BerthRecord, also?: () => void): void;
  delete(id: string): void;
}

const rowSchema = z.object({ record: z.string() });

export function createBerthRecords(database: Database.Database): BerthRecords {
  const select = database.prepare('SELECT record FROM berths WHERE id = ?1 OR name = ?1');
  const selectAll = database.prepare('SELECT record FROM berths ORDER BY name');
  const insert = database.prepare(
    `INSERT INTO berths (id, name, record) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record`,
  );
  const remove = database.prepare('DELETE FROM berths WHERE id = ?');
  const toRecord = (row: unknown): BerthRecord => {
    const record = JSON.parse(rowSchema.parse(row).record) as BerthRecord;
    return {
      // Of a Berth that knew no generations yet.
      ...{ generation: 1, startedWith: 1, request: { path: record.path } },
      ...record,
      // Records of before there were images do not name one.
      spec: { ...record.spec, image: record.spec.image ?? null },
    };
  };
  return {
    find(nameOrId) {
      const row: unknown = select.get(nameOrId);
      return row === undefined ? undefined : toRecord(row);
    },
    all: () => selectAll.all().map(toRecord),
    save(record, also) {
      const write = () => void insert.run(record.spec.id, record.spec.name, JSON.stringify(record));
      if (!also) {
        write();
        return;
      }
      database.transaction(() => {
        write();
        also();
      })();
    },
    delete: (id) => void remove.run(id),
  };
}
