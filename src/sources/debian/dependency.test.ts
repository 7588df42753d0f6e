import { expect, test } from 'vitest';
import { formatAlternative, parseDependencies } from './dependency.ts';

test('reads groups, alternatives, versions and qualifiers', () => {
  expect(parseDependencies('libc6 (>= 2.34), perl:any (>>5.30) | mawk, g++')).toEqual([
    [{ name: 'libc6', relation: '>=', version: '2.34' }],
    [{ name: 'perl', qualifier: 'any', relation: '>>', version: '5.30' }, { name: 'mawk' }],
    [{ name: 'g++' }],
  ]);
});

test('reads a folded field, and the old spellings of relations', () => {
  expect(parseDependencies('a (< 1),\n b (> 2),\n')).toEqual([
    [{ name: 'a', relation: '<=', version: '1' }],
    [{ name: 'b', relation: '>=', version: '2' }],
  ]);
});

test('an absent or empty field has no groups', () => {
  expect(parseDependencies(undefined)).toEqual([]);
  expect(parseDependencies('')).toEqual([]);
});

test('says an alternative as a control file does', () => {
  for (const said of ['perl:any (>> 5.30)', 'a', 'b:amd64', 'c (= 1:2-3)']) {
    expect(parseDependencies(said).flat().map(formatAlternative)).toEqual([said]);
  }
});
