import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
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
  expect(readFileSync(join(run, 'environment'), 'utf8')).toBe('A=1\0B=x y\0');
  expect(readFileSync(join(run, 'hook'), 'utf8')).toBe('echo hi\n');
  expect(readFileSync(join(run, 'command'), 'utf8')).toBe('sleep\x001\0');
  expect(readlinkSync(join(run, 'fhs'))).toBe('/berth/fhs');
});

test('follows no link that the berth has put in the way, and is not held up by a folder', () => {
  const run = join(directory, 'run');
  writeBerthContent(run, content);
  const victim = join(directory, 'victim');
  writeFileSync(victim, 'precious');
  for (const name of ['environment.new', 'hook.new', 'command.new']) symlinkSync(victim, join(run, name));
  mkdirSync(join(run, 'fhs.new'));
  writeBerthContent(run, { ...content, variables: { A: '2' } });
  expect(readFileSync(victim, 'utf8')).toBe('precious');
  expect(lstatSync(join(run, 'environment')).isFile()).toBe(true);
  expect(readFileSync(join(run, 'environment'), 'utf8')).toBe('A=2\0');
});
