/** What waits for the next launch: taken, missed, killed, left by a daemon that was killed, and ended. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { pingAgent } from '../../src/engine/agent/agent-client.ts';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded-engine.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const parent = `berth-slots-${process.pid}`;
let directory: string;
let engine: Engine;

const open = () =>
  createEmbeddedEngine({
    stateDirectory: join(directory, 'state'),
    busybox: '/usr/bin/busybox',
    nativeDirectory,
    runtimes: ['crun'],
    cgroupParent: parent,
  });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-slots-'));
  engine = open();
});
afterEach(async () => {
  for (const id of await engine.list()) await engine.remove(id);
  await engine.close?.();
  rmSync(directory, { recursive: true, force: true });
  for (const group of groups()) rmdirSync(group);
});

/** All groups of the test's, in all hierarchies, those below first. */
function groups(): string[] {
  const parents = ['', ...readdirSync('/sys/fs/cgroup')].map((name) => join('/sys/fs/cgroup', name, parent));
  return parents.filter(existsSync).flatMap((path) => [...slotsIn(path), path]);
}

function slotsIn(path: string): string[] {
  return readdirSync(path)
    .filter((name) => name.startsWith('slot-'))
    .map((name) => join(path, name));
}

const slots = () => groups().filter((path) => path.includes('/slot-'));
const waitingPids = () => [
  ...new Set(slots().flatMap((path) => readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean))),
];

async function until(condition: () => boolean): Promise<void> {
  for (let left = 1000; !condition(); left -= 1) {
    if (left === 0) throw new TypeError(`still not so: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Launches a berth that answers. @returns whether it was launched by what had waited */
async function launch(): Promise<{ id: string; fromSlot: boolean }> {
  const id = randomBytes(6).toString('hex');
  const runDirectory = join(directory, id);
  mkdirSync(runDirectory);
  symlinkSync('/berth/fhs', join(runDirectory, 'fhs'));
  await engine.launch({
    ...{ id, name: id, runDirectory, hostname: 'x', mounts: [], ports: [], network: 'none', command: null, labels: {} },
    image: null,
    limits: { memoryBytes: null, cpus: null, pids: 40 },
  });
  await pingAgent(join(runDirectory, 'agent.sock'));
  const state = await engine.inspect(id);
  if (state.state !== 'running') throw new TypeError('not running');
  return { id, fromSlot: readFileSync(`/proc/${state.pid}/cgroup`, 'utf8').includes('/slot-') };
}

/** Launches until one is taken from what waits: that is made behind the launch before, in its own time. */
async function launchFromSlot(): Promise<string> {
  for (let left = 50; left > 0; left -= 1) {
    const { id, fromSlot } = await launch();
    if (fromSlot) return id;
    await engine.remove(id);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new TypeError('no launch was taken from what waits');
}

async function needsSlots({ skip }: TestContext): Promise<void> {
  const { available, reason } = await engine.available();
  skip(!available, reason);
  skip(reason.includes('no limits'), 'no control groups may be made here');
}

describe('the next launch', () => {
  it('is taken from what waits, under its own limits, and leaves nothing', async (context) => {
    await needsSlots(context);
    const id = await launchFromSlot();
    const limits = slots()
      .map((path) => join(path, 'pids.max'))
      .filter(existsSync)
      .map((path) => readFileSync(path, 'utf8').trim());
    expect(limits).toContain('40');
    await engine.stop(id, 1000);
    await engine.close?.();
    expect(slots()).toEqual([]);
  });

  it('does without when what waits was killed', async (context) => {
    await needsSlots(context);
    await engine.remove(await launchFromSlot());
    await until(() => waitingPids().length === 1);
    process.kill(Number(waitingPids()[0]), 'SIGKILL');
    await until(() => waitingPids().length === 0);
    await launch();
    await launchFromSlot();
  });

  it('removes what a daemon that was killed left, but no group that a berth is in', async (context) => {
    await needsSlots(context);
    const id = await launchFromSlot();
    await engine.close?.();
    const inUse = slots();
    expect(inUse).not.toEqual([]);
    for (const path of inUse) mkdirSync(join(path, '../slot-left'));
    engine = open();
    expect(slots().sort()).toEqual(inUse.sort());
    expect((await engine.inspect(id)).state).toBe('running');
  });
});
