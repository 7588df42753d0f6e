import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { prepareRunDirectory, readExitCode, waitForAgent } from './run-directory.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-run-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));
const inside = (name: string) => join(directory, name);

describe('prepareRunDirectory', () => {
  test('takes away what an earlier run left, and writes the command', () => {
    writeFileSync(inside('agent.sock'), '');
    writeFileSync(inside('exit'), '0\n');
    prepareRunDirectory(directory, ['echo', 'a b']);
    expect(existsSync(inside('agent.sock'))).toBe(false);
    expect(existsSync(inside('exit'))).toBe(false);
    expect(readFileSync(inside('command'), 'utf8')).toBe('echo\0a b\0');
    prepareRunDirectory(directory, null);
    expect(existsSync(inside('command'))).toBe(false);
  });

  test('follows no link', () => {
    const victim = mkdtempSync(join(tmpdir(), 'berth-victim-'));
    writeFileSync(join(victim, 'file'), 'precious');
    symlinkSync(join(victim, 'file'), inside('command'));
    symlinkSync(victim, inside('exit'));
    prepareRunDirectory(directory, ['true']);
    expect(readFileSync(join(victim, 'file'), 'utf8')).toBe('precious');
    rmSync(victim, { recursive: true });
  });
});

describe('readExitCode', () => {
  test.each([
    ['3\n', 3],
    ['137\n', 137],
    ['', null],
    ['3', null],
    ['x\n', null],
    ['99999999999999999999\n', null],
  ])('of %j is %j', async (content, code) => {
    writeFileSync(inside('exit'), content);
    expect(await readExitCode(directory)).toBe(code);
  });

  test('is null where there is no file of the berth', async () => {
    expect(await readExitCode(directory)).toBeNull();
    mkdirSync(inside('exit'));
    expect(await readExitCode(directory)).toBeNull();
    rmSync(inside('exit'), { recursive: true });
    writeFileSync(inside('elsewhere'), '7\n');
    symlinkSync('elsewhere', inside('exit'));
    expect(await readExitCode(directory)).toBeNull();
  });
});

describe('waitForAgent', () => {
  test('resolves when the socket takes its name', async () => {
    const wait = waitForAgent(directory, 10_000);
    writeFileSync(inside('agent.sock.new'), '');
    renameSync(inside('agent.sock.new'), inside('agent.sock'));
    await wait.ready;
  });

  test('rejects after its time, and when it is cancelled', async () => {
    await expect(waitForAgent(directory, 5).ready).rejects.toMatchObject({ code: 'LAUNCH_FAILED' });
    const wait = waitForAgent(directory, 10_000);
    wait.cancel();
    await expect(wait.ready).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
