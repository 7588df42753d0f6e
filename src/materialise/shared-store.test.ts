import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { currentGeneration, dropGenerations, writeGeneration } from './generation.ts';
import { writeBerthContent } from './shared-store.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-content-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const content = {
  variables: { A: '1', B: 'x y' },
  shellHook: 'echo hi',
  functions: '',
  fhs: null,
  command: ['sleep', '1'],
};

test('writes what the agent reads', () => {
  const run = join(directory, 'run');
  writeBerthContent(run, content);
  expect(readFileSync(join(run, 'current/environment'), 'utf8')).toBe('A=1\0B=x y\0BERTH_GENERATION=1\0');
  expect(readFileSync(join(run, 'current/hook'), 'utf8')).toBe('echo hi\n');
  expect(readFileSync(join(run, 'command'), 'utf8')).toBe('sleep\x001\0');
  expect(readlinkSync(join(run, 'current/fhs'))).toBe('/berth/fhs');
  expect(readlinkSync(join(run, 'fhs'))).toBe('current/fhs');
  expect(currentGeneration(run)).toBe(1);
});

test('follows no link that the berth has put in the way, and is not held up by a folder', () => {
  const run = join(directory, 'run');
  writeBerthContent(run, content);
  const victim = join(directory, 'victim');
  mkdirSync(victim);
  writeFileSync(join(victim, 'environment'), 'precious');
  symlinkSync(victim, join(run, 'generation-2'));
  symlinkSync(join(victim, 'environment'), join(run, 'command.new'));
  rmSync(join(run, 'fhs'));
  for (const name of ['current.new', 'fhs', 'fhs.new']) mkdirSync(join(run, name, 'full'), { recursive: true });
  writeBerthContent(run, { ...content, variables: { A: '2' } }, 2);
  expect(readFileSync(join(victim, 'environment'), 'utf8')).toBe('precious');
  expect(lstatSync(join(run, 'generation-2')).isDirectory()).toBe(true);
  expect(readFileSync(join(run, 'current/environment'), 'utf8')).toBe('A=2\0BERTH_GENERATION=2\0');
  expect(readlinkSync(join(run, 'fhs'))).toBe('current/fhs');
});

test('leaves nothing of a generation that cannot be written, and the current one as it was', () => {
  const run = join(directory, 'run');
  writeBerthContent(run, content);
  expect(() => writeGeneration(run, 2, { ...content, fhs: 'x'.repeat(5000) as never })).toThrow();
  expect(readdirSync(run)).not.toContain('generation-2');
  expect(currentGeneration(run)).toBe(1);
});

test('drops the generations that are not to be kept, and nothing else', () => {
  const run = join(directory, 'run');
  for (const generation of [1, 2, 3]) writeBerthContent(run, content, generation);
  writeFileSync(join(run, 'generation-old'), '');
  dropGenerations(run, new Set([2, 3]));
  expect(readdirSync(run).filter((name) => name.startsWith('generation-'))).toEqual([
    'generation-2',
    'generation-3',
    'generation-old',
  ]);
});
