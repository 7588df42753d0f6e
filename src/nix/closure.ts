/**
 * The closure of store paths, read from the store's own database: one query of a few milliseconds where
 * `nix-store -qR` takes 70. Where the schema is not the known one, Nix is asked instead.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';
import { askPathInfo, pathInfoOfRow, pathInfoQuery, type PathInfo } from './path-info.ts';
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
const pathsQuery = 'select id, path, narSize as bytes from ValidPaths order by path';
const referencesQuery = 'select referrer, reference from Refs where referrer != reference';
const sizesQuery = 'select path, narSize as bytes from ValidPaths where path in (select value from json_each(?))';
const validQuery = 'select path from ValidPaths where path in (select value from json_each(?))';

/** All valid paths, sorted. */
export interface StoreGraph {
  readonly paths: readonly StorePath[];
  /** NAR sizes in bytes, by the paths' numbers. */
  readonly bytes: readonly number[];
  /** What each path refers to, without itself, by numbers. */
  readonly references: readonly (readonly number[])[];
}

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

export function createStoreDatabase(nix: NixProcess): StoreDatabase {
  const folder = join(nix.store.root, 'nix/var/nix/db');
  let database: Database.Database | undefined;
  let statements:
    Record<'closure' | 'valid' | 'info' | 'sizes' | 'paths' | 'references', Database.Statement> | undefined;

  const open = () => {
    if (statements) return statements;
    if (readSchema(folder) !== knownSchema || !existsSync(join(folder, 'db.sqlite'))) return undefined;
    try {
      // Read-only, yet with the write-ahead log: what other processes have committed is seen.
      database = new Database(join(folder, 'db.sqlite'), { readonly: true, timeout: 10_000 });
      statements = {
        closure: database.prepare(closureQuery),
        valid: database.prepare(validQuery),
        info: database.prepare(pathInfoQuery),
        sizes: database.prepare(sizesQuery),
        paths: database.prepare(pathsQuery),
        references: database.prepare(referencesQuery),
      };
      return statements;
    } catch {
      // For example a store of another user's, whose shared memory file can't be opened.
      database?.close();
      database = undefined;
      return undefined;
    }
  };

  return {
    async closureOf(paths) {
      if (paths.length === 0) return { paths: [], bytes: 0 };
      const query = open()?.closure;
      const found = query
        ? (query.all(JSON.stringify(paths)) as { path: string; bytes: number | null }[])
        : await askNix(nix, paths);
      const closure: StorePath[] = [];
      let bytes = 0;
      for (const row of found) {
        if (!isStorePath(row.path)) throw new BerthError('INTERNAL', `The store holds the odd path \`${row.path}\`.`);
        closure.push(row.path);
        bytes += row.bytes ?? 0;
      }
      const missing = paths.filter((path) => !closure.includes(path as StorePath));
      if (missing.length > 0) {
        throw new BerthError('INTERNAL', `${missing.join(', ')} is not valid in the store.`, { details: { missing } });
      }
      return { paths: closure, bytes };
    },
    async validPaths(paths) {
      if (paths.length === 0) return [];
      const query = open()?.valid;
      if (query) return (query.all(JSON.stringify(paths)) as { path: StorePath }[]).map((row) => row.path);
      const result = await nix.run('nix-store', ['--check-validity', '--print-invalid', ...paths]);
      const invalid = new Set(result.stdout.split('\n'));
      return paths.filter((path): path is StorePath => isStorePath(path) && !invalid.has(path));
    },
    async pathInfo(hashPart) {
      const query = open()?.info;
      return query ? pathInfoOfRow(query.get(`${storeDirectory}/${hashPart}`), hashPart) : askPathInfo(nix, hashPart);
    },
    async sizesOf(paths) {
      const query = open()?.sizes;
      const rows = query
        ? (query.all(JSON.stringify(paths)) as { path: string; bytes: number | null }[])
        : await askSizes(nix, paths);
      return new Map(rows.map(({ path, bytes }) => [path, bytes ?? 0]));
    },
    async graph() {
      const queries = open();
      if (!queries) return askGraph(nix);
      const rows = queries.paths.all() as { id: number; path: StorePath; bytes: number | null }[];
      const numbers = new Map(rows.map((row, number) => [row.id, number]));
      const references: number[][] = rows.map(() => []);
      for (const row of queries.references.all() as { referrer: number; reference: number }[]) {
        const from = numbers.get(row.referrer);
        const to = numbers.get(row.reference);
        // A path that was registered between the two queries is not known to the first.
        if (from !== undefined && to !== undefined) references[from]?.push(to);
      }
      return { paths: rows.map((row) => row.path), bytes: rows.map((row) => row.bytes ?? 0), references };
    },
    close() {
      database?.close();
      database = undefined;
      statements = undefined;
    },
  };
}

function readSchema(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, 'schema'), 'utf8').trim();
  } catch {
    return undefined;
  }
}

const pathInfoSchema = z.array(
  z.looseObject({ path: z.string(), narSize: z.number().optional(), references: z.array(z.string()).optional() }),
);

/** The graph as `nix path-info` tells it: a list of objects up to Nix 2.18, an object by paths after that. */
async function askGraph(nix: NixProcess): Promise<StoreGraph> {
  const told: unknown = JSON.parse(await nix.require('nix', ['path-info', '--all', '--json']));
  const list = Array.isArray(told)
    ? told
    : Object.entries(told as Record<string, object | null>).flatMap(([path, info]) =>
        info ? [{ ...info, path }] : [],
      );
  const infos = pathInfoSchema.parse(list).sort((a, b) => (a.path < b.path ? -1 : 1));
  const numbers = new Map(infos.map((info, number) => [info.path, number]));
  return {
    paths: infos.map((info) => info.path as StorePath),
    bytes: infos.map((info) => info.narSize ?? 0),
    references: infos.map((info, number) =>
      (info.references ?? []).map((path) => numbers.get(path)).filter((it) => it !== undefined && it !== number),
    ) as number[][],
  };
}

async function askNix(nix: NixProcess, paths: readonly string[]): Promise<{ path: string; bytes: number }[]> {
  const result = await nix.run('nix-store', ['--query', '--requisites', ...paths]);
  if (result.code !== 0) return [];
  return askSizes(nix, [...new Set(result.stdout.split('\n').filter((line) => line !== ''))].sort());
}

async function askSizes(nix: NixProcess, found: readonly string[]): Promise<{ path: string; bytes: number }[]> {
  const rows: { path: string; bytes: number }[] = [];
  // In slices, so that the command line stays within the system's limit.
  for (let start = 0; start < found.length; start += 1000) {
    const slice = found.slice(start, start + 1000);
    const sizes = (await nix.require('nix-store', ['--query', '--size', ...slice])).trim().split('\n');
    slice.forEach((path, index) => rows.push({ path, bytes: Number(sizes[index]) }));
  }
  return rows;
}
