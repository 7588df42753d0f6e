/** `berth bench modes`, on the store that all tests share: what it tells, and that a reordering is free. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ModesResult } from '../../src/cli/bench/result.ts';
import { testHome } from '../support/test-home.ts';
import { buildIfStale, createCliHome, type CliHome } from './cli-home.ts';

beforeAll(buildIfStale);

let cli: CliHome;
beforeEach(() => {
  cli = createCliHome();
});
afterEach(() => cli.close());

it('measures each mode in each situation, and finds reordering free', async () => {
  const temporary = join(cli.home, 't');
  mkdirSync(temporary);
  const { code, stdout, stderr } = await cli.berth(
    [
      ...['bench', 'modes', '--json', '--configs', '1', '--at-once', '2', '--samples', '1', '--out', 'results'],
      ...['--engine', 'embedded', '--store', join(testHome, 'store'), '--cache', join(testHome, 'bench-downloads')],
    ],
    { env: { TMPDIR: temporary } },
  );
  expect(code, stderr).toBe(0);
  const result = JSON.parse(stdout) as ModesResult;
  expect(result).toMatchObject({ bench: 'modes', engine: 'embedded', ownStore: false, reorderingIsFree: true });
  const ran = ['shell', 'image', 'registry'].filter((mode) => !result.skipped.some((it) => it.mode === mode));
  expect(ran).toEqual(expect.arrayContaining(['shell', 'image']));
  // 4 situations, 1 and 2 at once.
  expect(result.measurements).toHaveLength(ran.length * 8);
  const of = (mode: string, situation: string) =>
    result.measurements.filter((it) => it.mode === mode && it.situation === situation);
  for (const mode of ran) {
    for (const it of of(mode, 'reordered')) {
      expect(it).toMatchObject({ built: false, newImage: false, sameEnvironment: true, sameImage: true });
      expect(it.moved).toEqual({ downloads: 0, layers: 0 });
    }
    expect(of(mode, 'added').every((it) => !it.sameEnvironment)).toBe(true);
  }
  expect(of('shell', 'cold').every((it) => it.moved.layers === 0)).toBe(true);
  expect(of('image', 'cold').every((it) => it.moved.layers > 0 && it.newImage)).toBe(true);
  expect(result.measurements.every((it) => it.eachMs.length === it.atOnce && it.readyMs.length === 1)).toBe(true);
  expect(JSON.parse(readFileSync(join(cli.home, 'results/modes.json'), 'utf8'))).toEqual(result);
  expect(readFileSync(join(cli.home, 'results/modes.md'), 'utf8')).toContain('| shell | reordered | 2 |');
  // Its homes are gone.
  expect(readdirSync(temporary)).toEqual([]);
});
