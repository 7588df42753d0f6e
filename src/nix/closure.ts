/**
 * What a store knows of its paths, read from its own database, read-only: one query of a few milliseconds where
 * `nix-store -qR` takes 70. Where the database can't be read (another schema, another user's, a writer that keeps it
 * locked), Nix is asked instead, that time.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';
import { askPathInfo, pathInfoOfRow, pathInfoQuery, type PathInfo } from './path-info.ts';
import { askGraph, readGraph, type StoreGraph } from './store-graph.ts';
import { isStorePath, storeDirectory, type Closure, type StorePath } from './store.ts';

/** The schema that has been there since Nix 2.0: nix/src/libstore/schema.sql. */
const knownSchema = '10';

const closureQuery = `
  with recursive
    roots(path) as (select value from json_each(?)),
    closure(id) as (
      select v.id from ValidPaths v join roots on v.path = roots.path
      union
      select r.reference from Refs r join closure c on r.referrer = c.id
    )
  select v.path as path, v.narSize as bytes from closure c join ValidPaths v on v.id = c.id order by v.path`;
const sizesQuery = 'select path, narSize as bytes from ValidPaths where path in (select value from json_each(?))';
const validQuery = 'select path from ValidPaths where path in (select value from json_each(?))';

/** Reads a store's database. Opened once, kept open; every query sees what is committed then. */
export interface StoreDatabase {
  /** @throws BerthError INTERNAL when one of the paths is not valid */
  closureOf(paths: readonly string[]): Promise<Closure>;
  /** @returns those of the paths that are valid */
  validPaths(paths: readonly string[]): Promise<StorePath[]>;
  /**
   * @param hashPart the 32 characters before a store path's name
   * @returns what the store knows of the valid path with them
   */
  pathInfo(hashPart: string): Promise<PathInfo | undefined>;
  /** @returns the NAR size of each valid path of these, in bytes */
  sizesOf(paths: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** @returns the whole store */
  graph(): Promise<StoreGraph>;
  close(): void;
}

/** How long a query waits for a writer, which blocks this process; with a write-ahead log, as Nix makes it, none does. */
const busyMs = 200;

interface Opened {
  readonly database: Database.Database;
  readonly statements: Record<'closure' | 'valid' | 'info' | 'sizes', Database.Statement>;
  /** Of the file: a store that was made anew has another. */
  readonly inode: number;
}

export function createStoreDatabase(nix: NixProcess): StoreDatabase {
  const folder = join(nix.store.root, 'nix/var/nix/db');
  const file = join(folder, 'db.sqlite');
  let opened: Opened | undefined;

  const close = () => {
    opened?.database.close();
    opened = undefined;
  };

  const open = (): Opened | undefined => {
    const inode = statSync(file, { throwIfNoEntry: false })?.ino;
    if (opened && opened.inode === inode) return opened;
    close();
    if (inode === undefined || readSchema(folder) !== knownSchema) return undefined;
    // Read-only, yet with the write-ahead log: what other processes have committed is seen.
    const database = new Database(file, { readonly: true, timeout: busyMs });
    try {
      const statements = {
        closure: database.prepare(closureQuery),
        valid: database.prepare(validQuery),
        info: database.prepare(pathInfoQuery),
        sizes: database.prepare(sizesQuery),
      };
      opened = { database, statements, inode };
      return opened;
    } catch (error) {
      database.close();
      throw error;
    }
  };

  /** Reads from the database, or asks Nix where that can't be done. */
  const read = async <T>(query: (from: Opened) => T | Promise<T>, ask: () => Promise<T>): Promise<T> => {
    try {
      const from = open();
      if (from) return await query(from);
    } catch (error) {
      // The next query opens it anew. What is wrong with the question itself is no fault of the database.
      close();
      if (error instanceof BerthError) throw error;
    }
    return ask();
  };

  return {
    async closureOf(paths) {
      if (paths.length === 0) return { paths: [], bytes: 0 };
      const found = await read(
        ({ statements }) => statements.closure.all(JSON.stringify(paths)) as { path: string; bytes: number | null }[],
        () => askNix(nix, paths),
      );
      const closure: StorePath[] = [];
      let bytes = 0;
      for (const row of found) {
        if (!isStorePath(row.path)) throw new BerthError('INTERNAL', `The store holds the odd path \`${row.path}\`.`);
        closure.push(row.path);
        bytes += row.bytes ?? 0;
      }
      const there = new Set<string>(closure);
      const missing = paths.filter((path) => !there.has(path));
      if (missing.length > 0) {
        throw new BerthError('INTERNAL', `${missing.join(', ')} is not valid in the store.`, { details: { missing } });
      }
      return { paths: closure, bytes };
    },
    async validPaths(paths) {
      if (paths.length === 0) return [];
      return read(
        ({ statements }) =>
          (statements.valid.all(JSON.stringify(paths)) as { path: StorePath }[]).map((row) => row.path),
        () => askValid(nix, paths),
      );
    },
    pathInfo: (hashPart) =>
      read(
        ({ statements }) => pathInfoOfRow(statements.info.get(`${storeDirectory}/${hashPart}`), hashPart),
        () => askPathInfo(nix, hashPart),
      ),
    async sizesOf(paths) {
      if (paths.length === 0) return new Map();
      const rows = await read(
        ({ statements }) => statements.sizes.all(JSON.stringify(paths)) as { path: string; bytes: number | null }[],
        async () => askSizes(nix, await askValid(nix, paths)),
      );
      return new Map(rows.map(({ path, bytes }) => [path, bytes ?? 0]));
    },
    graph: () =>
      read(
        ({ database }) => readGraph(database),
        () => askGraph(nix),
      ),
    close,
  };
}

function readSchema(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, 'schema'), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** How many paths are named in one command: within the system's limit for arguments. */
const namedAtOnce = 1000;

async function askValid(nix: NixProcess, paths: readonly string[]): Promise<StorePath[]> {
  const valid: StorePath[] = [];
  for (let start = 0; start < paths.length; start += namedAtOnce) {
    const slice = paths.slice(start, start + namedAtOnce);
    const result = await nix.run('nix-store', ['--check-validity', '--print-invalid', ...slice]);
    const invalid = new Set(result.stdout.split('\n'));
    valid.push(...slice.filter((path): path is StorePath => isStorePath(path) && !invalid.has(path)));
  }
  return valid;
}

async function askNix(nix: NixProcess, paths: readonly string[]): Promise<{ path: string; bytes: number }[]> {
  const result = await nix.run('nix-store', ['--query', '--requisites', ...paths]);
  if (result.code !== 0) return [];
  return askSizes(nix, [...new Set(result.stdout.split('\n').filter((line) => line !== ''))].sort());
}

async function askSizes(nix: NixProcess, found: readonly string[]): Promise<{ path: string; bytes: number }[]> {
  const rows: { path: string; bytes: number }[] = [];
  for (let start = 0; start < found.length; start += namedAtOnce) {
    const slice = found.slice(start, start + namedAtOnce);
    const sizes = (await nix.require('nix-store', ['--query', '--size', ...slice])).trim().split('\n');
    slice.forEach((path, index) => rows.push({ path, bytes: Number(sizes[index]) }));
  }
  return rows;
}
