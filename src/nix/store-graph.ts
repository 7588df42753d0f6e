/** The whole store as a graph: every valid path with its size and what it refers to. */
import { setImmediate } from 'node:timers/promises';
import type Database from 'libsql';
import { z } from 'zod';
import type { NixProcess } from './nix-process.ts';
import type { StorePath } from './store.ts';

/** All valid paths, sorted. */
export interface StoreGraph {
  readonly paths: readonly StorePath[];
  /** NAR sizes in bytes, by the paths' numbers. */
  readonly bytes: readonly number[];
  /** What each path refers to, without itself, by numbers. */
  readonly references: readonly (readonly number[])[];
}

/** How many rows are read at once: a few milliseconds, after which others have their turn. */
const rowsAtOnce = 4000;

const pathsQuery = `select id, path, narSize from ValidPaths where path > ? order by path limit ${rowsAtOnce}`;
// One row for each path: a row for each reference would take six times as long to hand over.
const referencesQuery = `
  select referrer, group_concat(reference) from Refs
  where referrer >= ? and referrer < ? and referrer != reference group by referrer`;

/** Reads it in pieces, so that it is of no single moment: a path that is registered meanwhile may be missing. */
export async function readGraph(database: Database.Database): Promise<StoreGraph> {
  const paths: StorePath[] = [];
  const bytes: number[] = [];
  const numbers = new Map<number, number>();
  const nextPaths = database.prepare(pathsQuery).raw();
  for (let last = ''; ;) {
    await setImmediate();
    const rows = nextPaths.all(last) as [number, StorePath, number | null][];
    for (const [id, path, size] of rows) {
      numbers.set(id, paths.length);
      paths.push(path);
      bytes.push(size ?? 0);
      last = path;
    }
    if (rows.length < rowsAtOnce) break;
  }

  const references: number[][] = paths.map(() => []);
  const nextReferences = database.prepare(referencesQuery).raw();
  const highest = [...numbers.keys()].reduce((a, b) => Math.max(a, b), 0);
  for (let first = 0; first <= highest; first += rowsAtOnce) {
    await setImmediate();
    for (const [id, list] of nextReferences.all(first, first + rowsAtOnce) as [number, string][]) {
      const from = numbers.get(id);
      if (from === undefined) continue;
      for (const reference of list.split(',')) {
        const to = numbers.get(Number(reference));
        if (to !== undefined) references[from]?.push(to);
      }
    }
  }
  return { paths, bytes, references };
}

const pathInfoSchema = z.array(
  z.looseObject({ path: z.string(), narSize: z.number().optional(), references: z.array(z.string()).optional() }),
);

/** The graph as `nix path-info` tells it: a list of objects up to Nix 2.18, an object by paths after that. */
export async function askGraph(nix: NixProcess): Promise<StoreGraph> {
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
