import { expect, it } from 'vitest';
import type { BerthError } from '../../core/errors.ts';
import { parseCargoLock } from './cargo-lock.ts';

const lock = (more: string) =>
  `version = 3\n\n[[package]]\nname = "own"\nversion = "0.1.0"\n\n[[package]]\nname = "a_b"\nversion = "1.0.0+x"\n${more}`;
const codeOf = (text: string): string => {
  try {
    parseCargoLock(text, 'Cargo.lock');
  } catch (error) {
    return (error as BerthError).code;
  }
  return 'none';
};
const source = 'source = "sparse+https://registry.example/index/"\n';

it('reads the crates of registries', () => {
  const crates = parseCargoLock(
    lock(`${source}checksum = "${'ab'.repeat(32)}"\ndependencies = [\n "c",\n]\n`),
    'Cargo.lock',
  );
  expect(crates).toMatchObject([{ name: 'a_b', version: '1.0.0+x', integrity: { algorithm: 'sha256' } }]);
});

it.each([
  ['no hash', lock(source), 'LIBRARY_LOCK_UNHASHED'],
  ['a short hash', lock(`${source}checksum = "abcd"\n`), 'LIBRARY_LOCK_UNHASHED'],
  ['a repository', lock('source = "git+https://example.org/a#1"\n'), 'LIBRARY_UNSUPPORTED'],
  ['a newer form', 'version = 9\n', 'LIBRARY_LOCK_INVALID'],
  ['nothing', 'x', 'LIBRARY_LOCK_INVALID'],
  ['a name that leads elsewhere', '[[package]]\nname = "../a"\nversion = "1.0.0"\n', 'LIBRARY_LOCK_INVALID'],
])('refuses %s', (_name, text, code) => {
  expect(codeOf(text)).toBe(code);
});
