import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions, versionSatisfies } from './version.ts';

// Each line was asked of `dpkg --compare-versions` of dpkg 1.21.22.
const samples = `
1.0 < 1.1
1.0 = 1.0-0
1.0-1 > 1.0
1.0~rc1 < 1.0
1.0~rc1-1 < 1.0-1
1.0~~ < 1.0~
1.0~ < 1.0
1.0a > 1.0
1.0+b > 1.0a
1.0+dfsg-1 > 1.0-9
1.0.1 > 1.0+dfsg
2:1.0 > 1:9.9
0:1.0 = 1.0
1.10 > 1.9
1.010 = 1.10
1.0-1+b1 > 1.0-1
1.0-1+deb12u1 > 1.0-1+b1
1.0-1~bpo12+1 < 1.0-1
9.0.1378-2+deb12u2 > 9.0.1378-2
1.2.3-4-5 > 1.2.3-4
1.0-a < 1.0-b
1.0Z < 1.0a
20250419~deb12u2 < 20250419
7.88.1-10+deb12u14 > 7.88.1-10+deb12u9
5.36.0-7+deb12u4 > 5.36.0-7
1.0.0-00 = 1.0.0-0
`
  .trim()
  .split('\n')
  .map((line) => line.split(' ') as [string, string, string]);

const version = fc
  .tuple(
    fc.option(fc.nat(3), { nil: undefined }),
    fc.stringMatching(/^[0-9][0-9a-z.+~]{0,6}$/),
    fc.stringMatching(/^[0-9a-z+~]{0,3}$/),
  )
  .map(
    ([epoch, upstream, revision]) =>
      `${epoch === undefined ? '' : `${epoch}:`}${upstream}${revision === '' ? '' : `-${revision}`}`,
  );

describe('compareVersions', () => {
  test.each(samples)('%s %s %s, as dpkg says', (a, relation, b) => {
    const order = { '<': -1, '=': 0, '>': 1 }[relation];
    expect(Math.sign(compareVersions(a, b))).toBe(order);
    expect(Math.sign(compareVersions(b, a))).toBe(order === undefined || order === 0 ? 0 : -order);
  });

  test('is a total order', () => {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b))).toBe(0 - Math.sign(compareVersions(b, a)) || 0);
        expect(compareVersions(a, a)).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });

  test('what is added after a tilde makes a version older, anything else newer', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9][0-9a-z.]{0,6}$/), (upstream) => {
        expect(compareVersions(`${upstream}~x`, upstream)).toBeLessThan(0);
        expect(compareVersions(`${upstream}+x`, upstream)).toBeGreaterThan(0);
      }),
    );
  });
});

test('versionSatisfies knows all five relations', () => {
  const holds = (relation: Parameters<typeof versionSatisfies>[1]) =>
    ['1.0', '2.0', '3.0'].map((candidate) => versionSatisfies(candidate, relation, '2.0'));
  expect(holds('<<')).toEqual([true, false, false]);
  expect(holds('<=')).toEqual([true, true, false]);
  expect(holds('=')).toEqual([false, true, false]);
  expect(holds('>=')).toEqual([false, true, true]);
  expect(holds('>>')).toEqual([false, false, true]);
});
