/** What nothing needs, from the store's graph of paths, in an order in which it can be deleted. */
import type { StoreGraph } from '../nix/store-graph.ts';
import type { StorePath } from '../nix/store.ts';
import { reachableFrom } from './garbage-usage.ts';

export interface DeadPaths {
  /** Each after all that refer to it; derivations as early as that allows. */
  readonly paths: readonly StorePath[];
  /** Sum of their NAR sizes. */
  readonly bytes: number;
  /** How many of the first paths hold all derivations that are dead. */
  readonly untilDerivations: number;
}

/** @param roots paths that are needed, with all that they refer to */
export function deadPaths(graph: StoreGraph, roots: Iterable<string>): DeadPaths {
  const live = reachableFrom(graph, roots);
  const referrers = new Uint32Array(graph.paths.length);
  const dead: number[] = [];
  for (const number of graph.paths.keys()) if (!live.has(number)) dead.push(number);
  for (const number of dead) {
    for (const reference of graph.references[number] ?? []) referrers[reference] = (referrers[reference] ?? 0) + 1;
  }
  // Those that nobody refers to any more, derivations apart: they come first.
  const isDerivation = (number: number) => graph.paths[number]?.endsWith('.drv') ?? false;
  const ready = { derivations: [] as number[], others: [] as number[] };
  const offer = (number: number) => (isDerivation(number) ? ready.derivations : ready.others).push(number);
  for (const number of dead) if (referrers[number] === 0) offer(number);

  const paths: StorePath[] = [];
  let bytes = 0;
  let untilDerivations = 0;
  for (;;) {
    const number = ready.derivations.pop() ?? ready.others.pop();
    if (number === undefined) break;
    const path = graph.paths[number];
    if (path !== undefined) paths.push(path);
    bytes += graph.bytes[number] ?? 0;
    if (isDerivation(number)) untilDerivations = paths.length;
    for (const reference of graph.references[number] ?? []) {
      const left = (referrers[reference] ?? 0) - 1;
      referrers[reference] = left;
      if (left === 0 && !live.has(reference)) offer(reference);
    }
  }
  return { paths, bytes, untilDerivations };
}
