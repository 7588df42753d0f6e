import { expect, test } from 'vitest';
import type { StoreGraph } from '../nix/store-graph.ts';
import type { StorePath } from '../nix/store.ts';
import { reachableFrom, usageOf } from './garbage-usage.ts';

const path = (name: string): StorePath => `/nix/store/${'0'.repeat(32)}-${name}`;

/** a -> c, b -> c -> d, and e for itself; c and d need each other. */
const graph: StoreGraph = {
  paths: ['a', 'b', 'c', 'd', 'e'].map(path),
  bytes: [1, 10, 100, 1000, 10_000],
  references: [[2], [2], [3], [2], []],
};

test('reachableFrom follows references once, and leaves out what is not there', () => {
  expect([...reachableFrom(graph, [path('b'), path('gone')])].sort()).toEqual([1, 2, 3]);
});

test('usageOf tells what is shared; users with equal roots count as one', () => {
  const { users, neededBytes } = usageOf(graph, [
    { name: 'first', roots: [path('a')] },
    { name: 'second', roots: [path('b')] },
    { name: 'seed of the first', roots: [path('a')] },
  ]);
  expect(users).toMatchObject([
    { name: 'first', paths: 3, bytes: 1101, sharedBytes: 1100, uniqueBytes: 1 },
    { name: 'second', paths: 3, bytes: 1110, sharedBytes: 1100, uniqueBytes: 10 },
    { name: 'seed of the first', uniqueBytes: 1 },
  ]);
  expect(neededBytes).toBe(1111);
});
