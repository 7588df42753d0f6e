import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fewestRevisions, type Interval } from './fewest-revisions.ts';

const interval = fc.tuple(fc.nat(9), fc.nat(9)).map(([a, b]): Interval => [Math.min(a, b), Math.max(a, b)]);

test('overlapping versions share a revision', () => {
  expect(
    fewestRevisions([
      [1, 5],
      [4, 9],
      [5, 6],
    ]),
  ).toEqual([5, 5, 5]);
  expect(
    fewestRevisions([
      [1, 2],
      [4, 9],
    ]),
  ).toEqual([2, 9]);
  expect(
    fewestRevisions(
      [
        [1, 5],
        [4, 9],
      ],
      [3],
    ),
  ).toEqual([3, 9]);
  expect(fewestRevisions([])).toEqual([]);
});

test('each version is in its revision, and no fewer revisions have them all', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 6 }), fc.uniqueArray(fc.nat(9), { maxLength: 2 }), (wanted, known) => {
      const chosen = fewestRevisions(wanted, known);
      for (const [index, [first, last]] of wanted.entries()) {
        expect(chosen[index]).toBeGreaterThanOrEqual(first);
        expect(chosen[index]).toBeLessThanOrEqual(last);
      }
      const added = new Set(chosen.filter((point) => !known.includes(point)));
      expect(added.size).toBe(bruteForce(wanted, known));
    }),
    { numRuns: 300 },
  );
});

/** All sets of revisions beside the known ones; the size of the smallest that has every version. */
function bruteForce(wanted: readonly Interval[], known: readonly number[]): number {
  let best = Infinity;
  for (let mask = 0; mask < 1 << 10; mask += 1) {
    const points = Array.from({ length: 10 }, (_, bit) => bit).filter((bit) => mask & (1 << bit));
    const all = [...points, ...known];
    if (wanted.every(([first, last]) => all.some((point) => first <= point && point <= last))) {
      best = Math.min(best, points.length);
    }
  }
  return best;
}
