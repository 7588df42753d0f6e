/** The minimal image from the real busybox: small, the same each time, complete. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { appletsOf } from '../../src/engine/minimal-image/applets.ts';
import { describeMinimalImage, makeEntries, unpackShared } from '../../src/engine/minimal-image/minimal-image.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const options = { busybox: '/usr/bin/busybox', nativeDirectory };
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-image-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('is under three megabytes and the same each time', async () => {
  const [one, two] = [await describeMinimalImage(options), await describeMinimalImage(options)];
  expect(two.digest).toBe(one.digest);
  const bytes = [...one.shared, ...one.skeleton].reduce(
    (sum, entry) => sum + 512 + (entry.type === 'file' ? entry.content.length : 0),
    0,
  );
  expect(bytes).toBeLessThan(3_000_000);
});

test('is unpacked once, by several at once', async () => {
  const image = await describeMinimalImage(options);
  const places = await Promise.all([unpackShared(image, directory), unpackShared(image, directory)]);
  expect(new Set(places).size).toBe(1);
  expect(readdirSync(directory)).toHaveLength(1);
  const [place] = places;
  expect(statSync(join(place, 'bin/agent')).mode & 0o777).toBe(0o755);
  const before = statSync(place).ino;
  expect(statSync(await unpackShared(image, directory)).ino).toBe(before);
});

test('gives a berth the folders that programs expect, whatever the umask', async () => {
  const image = await describeMinimalImage(options);
  const old = process.umask(0o077);
  try {
    makeEntries(image.skeleton, directory);
  } finally {
    process.umask(old);
  }
  expect(statSync(join(directory, 'tmp')).mode & 0o7777).toBe(0o1777);
  expect(statSync(join(directory, 'etc/hosts')).mode & 0o777).toBe(0o644);
  for (const path of ['work', 'nix/store', 'proc', 'dev', 'run/berth', 'var/tmp']) {
    expect(existsSync(join(directory, path))).toBe(true);
  }
});

test('refuses a busybox that is not static', async () => {
  await expect(describeMinimalImage({ ...options, busybox: process.execPath })).rejects.toMatchObject({
    code: 'TOOL_MISSING',
  });
  const script = join(directory, 'busybox');
  writeFileSync(script, '#!/bin/sh\n', { mode: 0o755 });
  await expect(describeMinimalImage({ ...options, busybox: script })).rejects.toMatchObject({ code: 'TOOL_MISSING' });
});

test('reads the applets of a busybox as it tells them itself', () => {
  const told = execFileSync('busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  expect(appletsOf(readFileSync('/usr/bin/busybox'))).toEqual(told);
  expect(() => appletsOf(Buffer.from('no busybox'))).toThrow('no busybox');
});
