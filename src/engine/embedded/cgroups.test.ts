import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findCgroups } from './cgroups.ts';

// Plain folders stand for the kernel's; the real one is tested by the engine's contract.
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-cgroups-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const limits = { memoryBytes: 1 << 20, cpus: 1.5, pids: 20 };
const noLimits = { memoryBytes: null, cpus: null, pids: null };
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** The kernel's files appear with the folder; here they are put in before. */
function group(path: string, files: Record<string, string>): void {
  mkdirSync(join(root, path), { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(root, path, name), content);
}

describe('cgroup v2', () => {
  beforeEach(() => {
    group('.', { 'cgroup.controllers': 'cpu memory pids', 'cgroup.subtree_control': '' });
    group('berth/id', { 'memory.max': 'max\n', 'pids.max': 'max\n', 'cpu.max': 'max 100000\n' });
  });

  test('sets limits, takes them away, and hands the controllers down', () => {
    const cgroups = findCgroups({ root });
    expect(cgroups.layout).toBe('cgroup v2');
    expect(read('cgroup.subtree_control')).toBe('+memory +cpu +pids');
    expect(read('berth/cgroup.subtree_control')).toBe('+memory +cpu +pids');
    cgroups.create('id', limits);
    const values = () => ['memory.max', 'pids.max', 'cpu.max'].map((name) => read(`berth/id/${name}`).trim());
    expect(values()).toEqual(['1048576', '20', '150000 100000']);
    cgroups.setLimits('id', noLimits);
    expect(values()).toEqual(['max', 'max', 'max 100000']);
    expect(cgroups.joinFiles('id')).toEqual([join(root, 'berth/id/cgroup.procs')]);
  });
});

describe('cgroup v1', () => {
  beforeEach(() => {
    for (const name of ['memory', 'cpu', 'pids']) group(name, { 'cgroup.procs': '' });
    group('memory/berth/id', { 'memory.limit_in_bytes': '9223372036854771712\n' });
    group('pids/berth/id', { 'pids.max': 'max\n' });
    group('cpu/berth/id', { 'cpu.cfs_period_us': '100000\n', 'cpu.cfs_quota_us': '-1\n' });
  });

  test('sets limits, takes them away, and tells hybrid from plain', () => {
    expect(findCgroups({ root }).layout).toBe('cgroup v1');
    mkdirSync(join(root, 'unified'));
    const cgroups = findCgroups({ root });
    expect(cgroups.layout).toBe('hybrid cgroups');
    cgroups.create('id', limits);
    const values = () =>
      ['memory/berth/id/memory.limit_in_bytes', 'pids/berth/id/pids.max', 'cpu/berth/id/cpu.cfs_quota_us'].map((path) =>
        read(path).trim(),
      );
    expect(values()).toEqual(['1048576', '20', '150000']);
    cgroups.setLimits('id', noLimits);
    expect(values()).toEqual(['-1', 'max', '-1']);
    expect(cgroups.joinFiles('id')).toHaveLength(3);
  });

  test('removes empty groups, and those that are gone already', async () => {
    const cgroups = findCgroups({ root });
    for (const name of ['memory', 'cpu', 'pids']) rmSync(join(root, name, 'berth/id'), { recursive: true });
    mkdirSync(join(root, 'memory/berth/id'));
    await cgroups.remove('id');
    expect(existsSync(join(root, 'memory/berth/id'))).toBe(false);
  });
});

test('without control groups there are no limits, and setting one is refused', () => {
  const cgroups = findCgroups({ root });
  expect(cgroups.layout).toBeNull();
  cgroups.create('id', limits);
  expect(cgroups.joinFiles('id')).toEqual([]);
  expect(() => cgroups.setLimits('id', limits)).toThrow(expect.objectContaining({ code: 'LIMIT_REFUSED' }) as Error);
});

test('a value that the kernel refuses is named', () => {
  group('.', { 'cgroup.controllers': '', 'cgroup.subtree_control': '' });
  const cgroups = findCgroups({ root });
  expect(() => cgroups.create('id', limits)).toThrow(
    expect.objectContaining({ message: expect.stringContaining('memory.max = 1048576') as string }) as Error,
  );
});
