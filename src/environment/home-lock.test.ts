import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tryLockHome } from './home-lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync('/tmp/berth-lock-');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Tries from another process, as a second daemon does. */
function otherProcessGets(file: string): boolean {
  const script = `
    const Database = require('libsql');
    try { new Database(process.argv[1]).exec('BEGIN EXCLUSIVE'); console.log('yes'); } catch { console.log('no'); }`;
  return execFileSync(process.execPath, ['-e', script, file], { encoding: 'utf8' }).trim() === 'yes';
}

it('is one process’s until it is released', () => {
  const file = join(folder, 'home/daemon.lock');
  const lock = tryLockHome(file);
  expect(lock).toBeDefined();
  expect(otherProcessGets(file)).toBe(false);
  expect(tryLockHome(file)).toBeUndefined();
  lock?.release();
  expect(otherProcessGets(file)).toBe(true);
  const again = tryLockHome(file);
  expect(again).toBeDefined();
  again?.release();
});
