import { expect, it } from 'vitest';
import type { BerthError } from '../../core/errors.ts';
import { escaped, parseGoSum, requireHashes } from './go-sum.ts';

const hash = `h1:${Buffer.alloc(32, 1).toString('base64')}`;
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return (error as BerthError).code;
  }
  return 'none';
};

it('reads modules, of some only the go.mod', () => {
  const modules = parseGoSum(
    `a.example/One v1.0.0 ${hash}\na.example/One v1.0.0/go.mod ${hash}\nb v2.0.0/go.mod ${hash}\n`,
    'go.sum',
  );
  expect(modules.map(({ path, version, zip, mod }) => [path, version, !!zip, !!mod])).toEqual([
    ['a.example/One', 'v1.0.0', true, true],
    ['b', 'v2.0.0', false, true],
  ]);
});

it.each([
  ['a v1.0.0', 'LIBRARY_LOCK_UNHASHED'],
  ['a v1.0.0 h2:abc=', 'LIBRARY_LOCK_UNHASHED'],
  [`a v1.0.0 ${hash} more`, 'LIBRARY_LOCK_INVALID'],
  ['x', 'LIBRARY_LOCK_INVALID'],
])('refuses the line %s', (line, code) => {
  expect(codeOf(() => parseGoSum(`${line}\n`, 'go.sum'))).toBe(code);
});

it('misses hashes of what go.mod requires, but for what is replaced', () => {
  const modules = parseGoSum(`a v1.0.0/go.mod ${hash}`, 'go.sum');
  const check = (goMod: string) => codeOf(() => requireHashes(goMod, modules, 'go.sum'));
  expect(check('module m\nrequire a v1.0.0 // indirect\n')).toBe('none');
  expect(check('module m\nrequire (\n\ta v1.0.0\n\tb v1.0.0\n)\n')).toBe('LIBRARY_LOCK_UNHASHED');
  expect(check('module m\nrequire b v1.0.0\nreplace b v1.0.0 => ../b\n')).toBe('none');
});

it('writes capital letters as the proxies want them', () => {
  expect(escaped('github.com/BurntSushi/toml')).toBe('github.com/!burnt!sushi/toml');
});
