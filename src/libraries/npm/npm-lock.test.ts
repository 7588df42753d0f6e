import { describe, expect, it } from 'vitest';
import type { BerthError } from '../../core/errors.ts';
import { formatIntegrity } from '../integrity.ts';
import { packagesOf, parseNpmLock, withUrls } from './npm-lock.ts';

const hash = `sha512-${Buffer.alloc(64, 7).toString('base64')}`;

function lockOf(packages: Record<string, object>) {
  return withUrls(
    parseNpmLock(JSON.stringify({ lockfileVersion: 3, packages }), 'package-lock.json'),
    'https://registry.example.org/',
  );
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return (error as BerthError).code;
  }
  return 'none';
}

describe('package-lock.json', () => {
  it('names what is downloaded, and where from when it does not say', () => {
    const lock = lockOf({
      '': { name: 'app' },
      'node_modules/a': { version: '1.0.0', integrity: hash },
      'node_modules/@s/b': { version: '2.0.0', integrity: hash },
      'node_modules/c': { version: '3.0.0', integrity: hash, resolved: 'https://npm.example.org/c.tgz' },
      'node_modules/a/node_modules/alias': { name: 'real', version: '4.0.0', integrity: hash },
      'node_modules/in-a-bundle': { version: '1.0.0', inBundle: true },
      'node_modules/workspace': { resolved: 'packages/workspace', link: true },
      'packages/workspace': { version: '1.0.0' },
    });
    const { artifacts, packages } = packagesOf(lock, 'package-lock.json', 'x86_64-linux');
    expect(artifacts.map(({ url }) => url)).toEqual([
      'https://registry.example.org/a/-/a-1.0.0.tgz',
      'https://registry.example.org/@s/b/-/b-2.0.0.tgz',
      'https://npm.example.org/c.tgz',
      'https://registry.example.org/real/-/real-4.0.0.tgz',
    ]);
    expect(artifacts.every(({ integrity }) => formatIntegrity(integrity) === hash)).toBe(true);
    expect(packages.map(({ purl }) => purl)).toEqual([
      'pkg:npm/a@1.0.0',
      'pkg:npm/%40s/b@2.0.0',
      'pkg:npm/c@3.0.0',
      'pkg:npm/real@4.0.0',
    ]);
  });

  it.each([
    ['no JSON', 'x', 'LIBRARY_LOCK_INVALID'],
    ['an old version', JSON.stringify({ lockfileVersion: 1 }), 'LIBRARY_LOCK_INVALID'],
    ['another form', JSON.stringify({ lockfileVersion: 3, packages: [] }), 'LIBRARY_LOCK_INVALID'],
  ])('is refused: %s', (_name, text, code) => {
    expect(codeOf(() => parseNpmLock(text, 'package-lock.json'))).toBe(code);
  });

  it.each([
    ['no hash', { version: '1.0.0' }, 'LIBRARY_LOCK_UNHASHED'],
    ['a repository', { version: '1.0.0', resolved: 'git+ssh://git@host/a.git#1' }, 'LIBRARY_UNSUPPORTED'],
    ['another platform', { version: '1.0.0', integrity: hash, os: ['darwin'] }, 'LIBRARY_PLATFORM'],
    ['another processor', { version: '1.0.0', integrity: hash, cpu: ['!x64'] }, 'LIBRARY_PLATFORM'],
  ])('is refused when a package has %s', (_name, entry, code) => {
    const lock = lockOf({ '': {}, 'node_modules/a': entry });
    expect(codeOf(() => packagesOf(lock, 'package-lock.json', 'x86_64-linux'))).toBe(code);
  });

  it('leaves out what is optional and for another platform', () => {
    const lock = lockOf({
      '': {},
      'node_modules/mac': { version: '1.0.0', integrity: hash, os: ['darwin'], optional: true },
      'node_modules/arm': { version: '1.0.0', integrity: hash, cpu: ['arm64'], optional: true },
    });
    expect(packagesOf(lock, 'package-lock.json', 'x86_64-linux').artifacts).toEqual([]);
    expect(packagesOf(lock, 'package-lock.json', 'aarch64-linux').packages.map(({ name }) => name)).toEqual(['arm']);
  });
});
