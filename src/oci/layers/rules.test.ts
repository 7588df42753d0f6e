import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { autoLayerRule } from './auto-layer.ts';
import { canonicalRule } from './canonical.ts';
import { type CanonicalOrder, packageNames } from './canonical-order.ts';
import type { ClosureGraph, LayerRule } from './closure-graph.ts';
import { corpusFigures } from './corpus-figures.ts';
import { learnOrder } from './learn-order.ts';
import { nixeryRule } from './nixery.ts';
import { oneLayer } from './one-layer.ts';
import { debianBookworm } from './orders/debian-bookworm.ts';
import { popularityRule } from './popularity.ts';

const hash = 'abcdfghijklmnpqrsvwxyz0123456789';
const pathOf = (name: string) => `/nix/store/${hash}-${name}-1.0`;
const nameOf = (path: string) => path.slice(44, -4);

/** A closure from a short notation: name to its size and what it refers to. */
function closureOf(paths: Record<string, readonly [number, ...string[]]>, roots: readonly string[]): ClosureGraph {
  return {
    roots: roots.map(pathOf),
    paths: Object.entries(paths).map(([name, [narSize, ...references]]) => ({
      path: pathOf(name),
      narSize,
      references: references.map(pathOf),
    })),
  };
}

const namesIn = (layers: readonly (readonly string[])[]) => layers.map((layer) => layer.map(nameOf).join(' '));

const order: CanonicalOrder = {
  name: 'test',
  version: 1,
  placed: 3,
  groups: [
    [900, ['p0', 'p1']],
    [500, ['p7']],
    [700, ['p3', 'p4']],
    [10, ['p9']],
    [20, ['p10', 'p11']],
  ],
};

const rules: Record<string, LayerRule> = {
  oneLayer,
  nixery: nixeryRule({ popularityOf: (path) => (nameOf(path) === 'p1' ? 500 : 1) }),
  popularity: popularityRule,
  autoLayer: autoLayerRule,
  canonical: canonicalRule(order),
};

/** Random closures, with self references and cycles among them. */
const closures: fc.Arbitrary<ClosureGraph> = fc
  .array(fc.record({ size: fc.integer({ min: 0, max: 2 ** 28 }), to: fc.array(fc.nat(30), { maxLength: 5 }) }), {
    minLength: 1,
    maxLength: 30,
  })
  .chain((nodes) =>
    fc.record({
      roots: fc.subarray(
        nodes.map((_, index) => pathOf(`p${index}`)),
        { minLength: 1 },
      ),
      paths: fc.constant(
        nodes.map(({ size, to }, index) => ({
          path: pathOf(`p${index}`),
          narSize: size,
          references: to.map((target) => pathOf(`p${target % nodes.length}`)),
        })),
      ),
    }),
  );

describe.each(Object.entries(rules))('%s', (_, rule) => {
  test('puts each path into exactly one layer and keeps to the cap', () => {
    fc.assert(
      fc.property(closures, fc.integer({ min: 1, max: 12 }), (closure, cap) => {
        const layers = rule(closure, cap);
        expect(layers.length).toBeLessThanOrEqual(cap);
        expect(layers.every((layer) => layer.length > 0)).toBe(true);
        expect(layers.flat().sort()).toEqual(closure.paths.map(({ path }) => path).sort());
      }),
    );
  });

  test('gives the same layers for every order of paths, roots and references', () => {
    const shuffled = closures.chain((closure) =>
      fc.tuple(
        fc.constant(closure),
        fc.record({
          roots: fc.shuffledSubarray([...closure.roots], { minLength: closure.roots.length }),
          paths: fc.shuffledSubarray(
            closure.paths.map((path) => ({ ...path, references: [...path.references].reverse() })),
            { minLength: closure.paths.length },
          ),
        }),
      ),
    );
    fc.assert(
      fc.property(shuffled, fc.integer({ min: 1, max: 12 }), ([one, other], cap) => {
        expect(rule(other, cap)).toEqual(rule(one, cap));
        expect(rule({ ...one, paths: [...one.paths, ...one.paths] }, cap)).toEqual(rule(one, cap));
      }),
    );
  });
});

describe('the known rules, on small closures worked out by hand', () => {
  const closure = closureOf({ app: [10, 'lib', 'libc'], tool: [5, 'libc'], lib: [20, 'data'], data: [1], libc: [30] }, [
    'app',
    'tool',
  ]);

  test('Nixery: subtrees of the dominator tree, best rated first', () => {
    // app dominates lib and data: (61 + 21 + 1); libc hangs from both: 30; tool: 35.
    expect(namesIn(nixeryRule({ popularityOf: () => 1 })(closure, 9))).toEqual(['app data lib', 'tool', 'libc']);
    // Popular paths hang from the root themselves and are rated by it.
    const popular = nixeryRule({ popularityOf: (path) => (nameOf(path) === 'lib' ? 100 : 1) });
    expect(namesIn(popular(closure, 9))).toEqual(['data lib', 'app', 'tool', 'libc']);
    // Over the budget, the two lowest rated are put together.
    expect(namesIn(nixeryRule({ popularityOf: () => 1 })(closure, 2))).toEqual(['app data lib', 'libc tool']);
  });

  test('nix2container: by the number of chains that lead to a path, the rest in the last layer', () => {
    // libc 1 + app + tool = 3; data 1 + lib(2) = 3; lib 2; app and tool 1.
    expect(namesIn(popularityRule(closure, 9))).toEqual(['data', 'libc', 'lib', 'app', 'tool']);
    expect(namesIn(popularityRule(closure, 3))).toEqual(['data', 'libc', 'app lib tool']);
  });

  test('auto-layer: what the same nearest primaries lead to, by the size of a layer with all below it', () => {
    // Largest first: libc, lib (with data), then app, and tool; data is last and gets its own.
    expect(namesIn(autoLayerRule(closure, 3))).toEqual(['data lib', 'libc', 'app tool']);
    expect(namesIn(autoLayerRule(closure, 9))).toEqual(['data', 'lib', 'libc', 'tool', 'app']);
  });

  test('one layer', () => expect(namesIn(oneLayer(closure))).toEqual(['app data lib libc tool']));
});

describe('the canonical rule', () => {
  const rule = canonicalRule(order);

  test('stacks groups in the published order, then by size and name whatever has no place in it', () => {
    const closure = closureOf(
      { p9: [10], p3: [300], p0: [500], p1: [400], p7: [500], zz: [8], aa: [9], big: [5000], p10: [9] },
      ['p9'],
    );
    expect(namesIn(rule(closure, 99))).toEqual(['p0 p1', 'p7', 'p3', 'big', 'p10', 'aa', 'p9', 'zz']);
    // Over the cap the lightest share the last layer, so that all below stays the common stack.
    expect(namesIn(rule(closure, 5))).toEqual(['p0 p1', 'p7', 'p3', 'big', 'aa p10 p9 zz']);
  });

  test('stacks the layers that two images share in one sequence, so that they share the beginnings of their stacks', () => {
    const universe = Object.fromEntries(
      Array.from({ length: 14 }, (_, index) => [`p${index}`, [7 ** (index % 5)]] as const),
    );
    const some = fc.subarray(Object.keys(universe), { minLength: 1 });
    const stackOf = (names: readonly string[]) =>
      namesIn(rule(closureOf(Object.fromEntries(names.map((name) => [name, universe[name] ?? [0]])), names), 99));
    fc.assert(
      fc.property(some, some, (one, two) => {
        const [a, b] = [stackOf(one), stackOf(two)];
        expect(a.filter((layer) => b.includes(layer))).toEqual(b.filter((layer) => a.includes(layer)));
      }),
    );
  });

  test('keeps the lower layers when a package is added that stands above', () => {
    const before = closureOf({ p0: [500], p1: [400], p7: [500] }, ['p0']);
    const after = closureOf({ p0: [500], p1: [400], p7: [500], p3: [1], new: [70] }, ['p0', 'new']);
    expect(namesIn(rule(after, 99)).slice(0, 2)).toEqual(namesIn(rule(before, 99)));
  });
});

test('packageNames reads a store name in every way, the longest first', () => {
  const names = (name: string) => packageNames(`/nix/store/${hash}-${name}`);
  expect(names('gcc-12-base-12.2.0-14')).toEqual(['gcc-12-base-12.2.0', 'gcc-12-base', 'gcc']);
  expect(names('glibc-2.40-66-dev')).toEqual(['glibc-2.40:dev', 'glibc:dev']);
  expect(names('libstdc++6-12.2.0')).toEqual(['libstdc++6']);
  expect(names('source')).toEqual(['source']);
});

describe('learnOrder', () => {
  const seen = (...names: string[]) => names.map((name) => ({ name, size: name.startsWith('big') ? 1000 : 10 }));

  test('puts what always comes together into one group, and what splits stacks above what is large', () => {
    const corpus = [seen('libc', 'libm', 'big', 'a'), seen('libc', 'libm', 'big', 'b'), seen('libc', 'libm', 'a', 'b')];
    const { groups } = learnOrder([corpus], { name: 'x', version: 3 });
    expect(groups.map(([, names]) => names)).toContainEqual(['libc', 'libm']);
    const place = (name: string) => groups.findIndex(([, names]) => names.includes(name));
    expect(place('libc')).toBeLessThan(place('a'));
    expect(place('big')).toBeLessThan(place('a'));
    expect(place('big')).toBeLessThan(place('b'));
  });

  test('is no worse than popularity times size, which it starts from, and the same each time', () => {
    const names = ['libc', 'big1', 'big2', 'big3', 'a', 'b', 'c', 'd', 'e'];
    const corpora = fc.array(fc.subarray(names, { minLength: 2 }), { minLength: 3, maxLength: 12 });
    fc.assert(
      fc.property(corpora, (configs) => {
        const closures = configs.map((config) =>
          closureOf(Object.fromEntries(seen(...config).map(({ name, size }) => [name, [size]] as const)), config),
        );
        const corpus = configs.map((config) => seen(...config));
        const figure = (sweeps: number) =>
          corpusFigures(canonicalRule(learnOrder([corpus], { name: 'x', version: 1, sweeps })), closures, 100)
            .chainRatio;
        expect(figure(8)).toBeLessThanOrEqual(figure(0) + 1e-9);
        expect(learnOrder([corpus], { name: 'x', version: 1 })).toEqual(
          learnOrder([corpus], { name: 'x', version: 1 }),
        );
      }),
      { numRuns: 60 },
    );
  });
});

test('corpusFigures counts a blob once, and a layer once for each different stack below it', () => {
  const one = closureOf({ a: [100], b: [10] }, ['a']);
  const two = closureOf({ b: [10], c: [1] }, ['c']);
  const eachAlone: LayerRule = (closure) => closure.paths.map(({ path }) => [path]);
  const figures = corpusFigures(eachAlone, [one, two, one], 9);
  expect(figures).toMatchObject({ unionBytes: 111, blobRatio: 1, meanLayers: 2, maxLayers: 2 });
  expect(figures.chainRatio).toBeCloseTo(121 / 111);
});

test('the published order names each package once', () => {
  const names = debianBookworm.groups.flatMap(([, group]) => group);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThan(1000);
  expect(debianBookworm.placed).toBeLessThan(debianBookworm.groups.length);
});
