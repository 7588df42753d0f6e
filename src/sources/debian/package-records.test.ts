import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { licensesOf } from './copyright.ts';
import { debianPackagesOf } from './package-records.ts';

let index: string;
beforeEach(() => {
  index = mkdtempSync(join(tmpdir(), 'berth-index-'));
  mkdirSync(join(index, 'shards'));
  writeFileSync(
    join(index, 'names.json'),
    JSON.stringify({ shards: 1, names: { 'ca-certificates': 0, libc: 0, 'libc-bin': 0 } }),
  );
  const entry = (version: string, file: string) => ({ version, file, sha256: 'ab', size: 1, component: 'main' });
  const shard = {
    'ca-certificates': entry(
      '20250419~deb12u2',
      'pool/main/c/ca-certificates/ca-certificates_20250419~deb12u2_all.deb',
    ),
    libc: entry('1:2-3', 'pool/main/g/glibc/libc_2-3_amd64.deb'),
    'libc-bin': entry('2.36-9', 'pool/main/g/glibc/libc-bin_2.36-9_amd64.deb'),
  };
  writeFileSync(join(index, 'shards/0.json'), JSON.stringify(shard));
});
afterEach(() => rmSync(index, { recursive: true }));

test('a package is found by the name of its store path, with the version that Debian gave it', () => {
  const packageOf = debianPackagesOf(index);
  expect(packageOf('ca-certificates-20250419-deb12u2')).toMatchObject({
    version: '20250419~deb12u2',
    architecture: 'all',
  });
  expect(packageOf('libc-1_2-3')).toMatchObject({
    name: 'libc',
    version: '1:2-3',
    source: 'glibc',
    architecture: 'amd64',
  });
  expect(packageOf('libc-bin-2.36-9')).toMatchObject({ name: 'libc-bin', source: 'glibc' });
  expect(packageOf('libc-bin-2.36-8')).toBeUndefined();
  expect(packageOf('environment')).toBeUndefined();
});

test('licences are read where the file has the form for it, by the names of SPDX', () => {
  const text = [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/',
    '',
    'Files: *',
    'License: Expat',
    ' Permission is granted',
    '',
    'Files: debian/*',
    'License: GPL-2+ and Odd',
    '',
    'License: Zlib',
    ' text of one',
  ].join('\n');
  expect(licensesOf(text)).toEqual(['GPL-2.0-or-later', 'MIT', 'Odd']);
  expect(licensesOf('This package is free, License: GPL-2')).toEqual([]);
});
