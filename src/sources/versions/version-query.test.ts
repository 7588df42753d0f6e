import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { upstreamVersion } from './upstream-version.ts';
import { nearestVersions, newestFirst, versionQuery } from './version-query.ts';

test.each([
  ['4:12.2.0-3', '12.2.0'],
  ['18.20.4+dfsg-1~deb12u3', '18.20.4'],
  ['24.22.2+dfsg+~cs24.19.2-1', '24.22.2'],
  ['1:9.2p1-2+deb12u3', '9.2p1'],
  ['2:1.24~2', '1.24'],
  ['9.2.0~ds1-3', '9.2.0'],
  ['15+248', '15'],
  ['3.0~rc1-2', '3.0~rc1'],
  ['2024a-0+deb12u1', '2024a'],
  ['0.0.0-1', '0.0.0'],
])('the project calls %s %s', (debian, upstream) => {
  expect(upstreamVersion(debian)).toBe(upstream);
});

describe('a wanted version', () => {
  it.each([
    ['18.20.4', ['18.20.4'], ['18.20.5', '18.20.40']],
    ['18', ['18.20.4', '18', '18-rc1'], ['180.1', '1.18', '17.9']],
    ['3.1', ['3.1', '3.1.4'], ['3.11', '3.0']],
    ['9.2p1', ['9.2p1'], ['9.2', '9.2p12']],
    ['^18.2', ['18.2.0', '18.20.4'], ['18.1.9', '19.0.0']],
    ['~3.11', ['3.11', '3.11.9'], ['3.12.0', '3.10.1']],
    ['>=18 <20', ['18.0.0', '19.9.9', '18'], ['20.0.0', '17.1.0']],
    ['18.x', ['18.20.4'], ['19.0.0']],
    ['1.2 - 1.5', ['1.2.0', '1.5.9'], ['1.6.0', '1.1.9']],
    ['18 || 20', ['18.1.0', '20.1.0'], ['19.0.0']],
    ['>=3', ['3.0.1', '4.1'], ['3.0~rc1', '2024a-x'.slice(0, 1)]],
    ['*', ['1', 'x'], []],
  ])('%s', (wanted, good, bad) => {
    const query = versionQuery(wanted);
    expect(good.filter((version) => !query.matches(version))).toEqual([]);
    expect(bad.filter((version) => query.matches(version))).toEqual([]);
  });

  it("can be the source's own", () => {
    expect(versionQuery('18.20.4+dfsg-1~deb12u3').matches('18.20.4', '18.20.4+dfsg-1~deb12u3')).toBe(true);
  });

  it.each(['', '>=', 'a b c', '$(x)', '"18"', '../x'])('is refused: %s', (wanted) => {
    expect(() => versionQuery(wanted)).toThrowError(expect.objectContaining({ code: 'VERSION_INVALID' }) as Error);
  });
});

test('the nearest versions come first', () => {
  const versions = ['24.1.0', '18.20.4', '20.19.2', '8.0.1'];
  expect(nearestVersions('19', versions, (version) => version)).toEqual(['20.19.2', '18.20.4', '24.1.0', '8.0.1']);
  expect(nearestVersions('18.3', versions, (version) => version)[0]).toBe('18.20.4');
  expect(nearestVersions('x', versions, (version) => version)[0]).toBe('8.0.1');
});

test('an exact version matches itself and has nothing nearer', () => {
  const version = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((parts) => parts.join('.'));
  fc.assert(
    fc.property(version, fc.array(version), (wanted, others) => {
      const [major] = wanted.split('.');
      expect(versionQuery(wanted).matches(wanted)).toBe(true);
      expect(versionQuery(`^${wanted}`).matches(wanted)).toBe(true);
      expect(versionQuery(major ?? '').matches(wanted)).toBe(true);
      expect(nearestVersions(wanted, [...others, wanted], (it) => it)[0]).toBe(wanted);
      const sorted = [...others].sort(newestFirst);
      expect(sorted).toEqual([...others].sort((a, b) => byNumbers(b, a)));
    }),
  );
});

function byNumbers(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (const index of [0, 1, 2]) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
