import { expect, test } from 'vitest';
import type { StoreGraph } from '../nix/store-graph.ts';
import type { StorePath } from '../nix/store.ts';
import { deadPaths } from './garbage-dead.ts';

const path = (name: string): StorePath => `/nix/store/${'0'.repeat(32)}-${name}`;

/** environment -> view -> package; drv -> source; kept -> package. */
const graph: StoreGraph = {
  paths: ['environment', 'view', 'package', 'kept', 'x.drv', 'source'].map(path),
  bytes: [1, 10, 100, 1000, 10_000, 100_000],
  references: [[1], [2], [], [2], [5], []],
};

test('what no root leads to is dead, each after what refers to it, derivations first', () => {
  expect(deadPaths(graph, [path('kept'), path('gone')])).toEqual({
    paths: ['x.drv', 'source', 'environment', 'view'].map(path),
    bytes: 110_011,
    untilDerivations: 1,
  });
});

test('with all needed nothing is dead, with nothing needed all is', () => {
  expect(deadPaths(graph, graph.paths).paths).toEqual([]);
  const { paths, bytes } = deadPaths(graph, []);
  expect([...paths].sort()).toEqual([...graph.paths].sort());
  expect(bytes).toBe(111_111);
  for (const [number, references] of graph.references.entries()) {
    for (const reference of references) {
      expect(paths.indexOf(graph.paths[number]!)).toBeLessThan(paths.indexOf(graph.paths[reference]!));
    }
  }
});
