import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { StorePath } from '../nix/store.ts';
import type { BerthContent } from './generation.ts';
import { createWaitingFolders, type WaitingFolders } from './waiting-folders.ts';

const path = (name: string) => `/nix/store/${'a'.repeat(32)}-${name}` as StorePath;
const content: BerthContent = {
  variables: { TOKEN: 'secret' },
  shellHook: 'echo hook',
  functions: 'f() { :; }',
  fhs: path('view'),
  command: null,
};

let directory: string;
let there: Set<string>;
let folders: WaitingFolders;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-folders-'));
  there = new Set([path('view')]);
  folders = createWaitingFolders((each) => there.has(each));
});
afterEach(() => rmSync(directory, { recursive: true }));

const run = (name: string) => join(directory, name, 'run');

/** @returns all that a folder shows, by the paths that the agent reads */
function seen(folder: string) {
  const file = (name: string) => {
    const at = join(folder, 'current', name);
    return existsSync(at) ? readFileSync(at, 'utf8') : null;
  };
  return {
    environment: file('environment'),
    hook: file('hook'),
    functions: file('functions'),
    view: readlinkSync(join(folder, 'current/fhs')),
    link: readlinkSync(join(folder, 'fhs')),
    entries: readdirSync(folder).sort(),
  };
}

it.each<[string, BerthContent, number]>([
  ['the same', content, 1],
  ['other variables', { ...content, variables: {} }, 1],
  ['nothing that it had', { variables: { A: '1' }, shellHook: '', functions: '', fhs: null, command: null }, 1],
  ['a shorter hook and a command', { ...content, shellHook: ':', fhs: path('other'), command: ['sh'] }, 1],
  ['a later generation', { ...content, shellHook: 'echo later' }, 4],
])('gives a folder that was prepared what a new one gets: %s', (_what, wanted, generation) => {
  folders.write(run('before'), content, 1);
  folders.prepare(run('waiting'));
  folders.write(run('waiting'), wanted, generation);
  createWaitingFolders(() => true).write(run('new'), wanted, generation);
  expect(seen(run('waiting'))).toEqual(seen(run('new')));
});

it('prepares a folder as the berth before had it, without its variables', () => {
  folders.prepare(run('first'));
  expect(seen(run('first'))).toMatchObject({ hook: null, functions: null, view: '/berth/fhs', link: 'current/fhs' });
  folders.write(run('first'), content, 1);
  folders.prepare(run('second'));
  expect(seen(run('second'))).toMatchObject({
    environment: 'BERTH_GENERATION=1\0',
    hook: 'echo hook\n',
    view: path('view'),
  });
});

it('makes no file for a berth like the one before', () => {
  folders.write(run('before'), content, 1);
  folders.prepare(run('waiting'));
  const inodes = () =>
    ['environment', 'hook', 'functions'].map((name) => statSync(join(run('waiting'), 'generation-1', name)).ino);
  const made = inodes();
  folders.write(run('waiting'), { ...content, variables: { OTHER: '1' } }, 1);
  expect(inodes()).toEqual(made);
});

it('does not prepare a view that was collected', () => {
  folders.write(run('before'), content, 1);
  there.clear();
  folders.prepare(run('waiting'));
  expect(seen(run('waiting')).view).toBe('/berth/fhs');
});

it('takes a folder of that name for a new one when its container is gone', () => {
  folders.prepare(run('gone'));
  folders.forget(run('gone'));
  folders.write(run('gone'), content, 1);
  expect(seen(run('gone')).hook).toBe('echo hook\n');
});
