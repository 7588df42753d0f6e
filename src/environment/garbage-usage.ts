/** Who needs how much of the store, from its graph of paths. */
import type { StoreGraph } from '../nix/store-graph.ts';
import type { StorePath } from '../nix/store.ts';
import type { UserUsage } from './storage.ts';

/** @returns the numbers of all paths that are needed by some, themselves included; paths that are not there are left out */
export function reachableFrom(graph: StoreGraph, roots: Iterable<string>): Set<number> {
  const numbers = numbersOf(graph);
  const found = new Set<number>();
  const pending = [...roots].map((path) => numbers.get(path)).filter((it) => it !== undefined);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    for (const reference of graph.references[next] ?? []) if (!found.has(reference)) pending.push(reference);
  }
  return found;
}

const known = new WeakMap<StoreGraph, Map<string, number>>();

function numbersOf(graph: StoreGraph): Map<string, number> {
  const numbers = known.get(graph) ?? new Map<string, number>(graph.paths.map((path, number) => [path, number]));
  known.set(graph, numbers);
  return numbers;
}

export function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/**
 * What each user needs, and how much of that nobody else needs. Users with the same paths (an environment and the seed of
 * its config) count as one.
 */
export function usageOf<User extends { readonly name: string; readonly roots: readonly StorePath[] }>(
  graph: StoreGraph,
  users: readonly User[],
): { users: (User & UserUsage)[]; neededBytes: number } {
  const closures = new Map<string, Set<number>>();
  const keyOf = (user: User) => [...user.roots].sort().join(' ');
  for (const user of users) {
    if (!closures.has(keyOf(user))) closures.set(keyOf(user), reachableFrom(graph, user.roots));
  }
  const needs = new Uint32Array(graph.paths.length);
  for (const closure of closures.values()) for (const path of closure) needs[path] = (needs[path] ?? 0) + 1;
  const bytesOf = (paths: Iterable<number>) => sumOf([...paths].map((path) => graph.bytes[path] ?? 0));
  return {
    users: users.map((user) => {
      const closure = closures.get(keyOf(user)) ?? new Set();
      const bytes = bytesOf(closure);
      const uniqueBytes = bytesOf([...closure].filter((path) => needs[path] === 1));
      return { ...user, paths: closure.size, bytes, sharedBytes: bytes - uniqueBytes, uniqueBytes };
    }),
    neededBytes: bytesOf([...needs.keys()].filter((path) => (needs[path] ?? 0) > 0)),
  };
}
