/** The pool in front of the real embedded engine: the engine's contract, and what a pool adds to it. */
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BerthEvent } from '../../src/core/events.ts';
import { execInBerth } from '../../src/engine/agent/agent-client.ts';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded-engine.ts';
import { engineContract } from '../../src/engine/engine-contract.ts';
import type { BerthSpec, Engine, Mount } from '../../src/engine/engine.ts';
import { createPooledEngine, type PoolOptions } from '../../src/engine/pool/pooled-engine.ts';
import { nativeDirectory } from '../support/native-directory.ts';
import { until } from '../support/until.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-pool-'));
const cgroupParent = `berth-pool-test-${process.pid}`;
const limits = { memoryBytes: 1 << 30, cpus: null, pids: 512 };
const whyNot = process.getuid?.() === 0 ? undefined : 'only root can attach folders to what runs';

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
  for (const controller of ['', ...readdirSync('/sys/fs/cgroup')]) {
    const group = join('/sys/fs/cgroup', controller, cgroupParent);
    if (existsSync(group)) rmdirSync(group);
  }
});

const store = join(directory, 'store');
mkdirSync(join(store, 'aaa-hello'), { recursive: true });
writeFileSync(join(store, 'aaa-hello/text'), 'hello\n');
mkdirSync(join(store, 'bbb-secret'));
writeFileSync(join(store, 'ccc-file'), 'a file\n');
symlinkSync('aaa-hello', join(store, 'ddd-link'));
const wholeStore: Mount = { source: store, target: '/nix/store', readOnly: true };

for (const name of ['one', 'two']) {
  mkdirSync(join(store, `view-${name}/etc/shared`), { recursive: true });
  for (const file of [`${name}.conf`, 'both.conf', `shared/${name}`]) {
    writeFileSync(join(store, `view-${name}/etc`, file), `${name}\n`);
  }
  for (const folder of ['usr', 'bin']) symlinkSync(`/berth/fhs/${folder}`, join(store, `view-${name}`, folder));
}

let events: BerthEvent[] = [];

/** The FHS view that containers wait with. */
let view = '/berth/fhs';
const folders = {
  prepare(runDirectory: string) {
    mkdirSync(runDirectory, { recursive: true });
    symlinkSync(view, join(runDirectory, 'fhs'));
  },
  forget: () => undefined,
};

function openEngine(name: string): Engine {
  return createEmbeddedEngine({
    stateDirectory: join(directory, name, 'state'),
    busybox: '/usr/bin/busybox',
    nativeDirectory,
    cgroupParent,
  });
}

/** @param name of the folder that holds all that the engine and its pool keep */
function openPool(name: string, options: Partial<PoolOptions> = {}): Engine {
  const base = join(directory, name);
  return createPooledEngine(openEngine(name), {
    ...{ min: 1, max: 8, targetHitRate: 1, idleMs: 60_000, refillDelayMs: 10, limits },
    shared: [wholeStore],
    usual: { network: 'none', isolation: 'whole' },
    folders,
    berthsDirectory: join(base, 'berths'),
    directory: join(base, 'waiting'),
    emit: (event) => events.push(event),
    ...options,
  });
}

const waits = (engine: Engine, count: number) =>
  until(() => engine.pool?.().waiting === count && engine.pool().starting === 0);

const contract = openPool('contract', { shared: [], min: 2, max: 2 });
engineContract('embedded engine behind a pool', () =>
  Promise.resolve({
    engine: contract,
    directory: join(directory, 'contract/berths'),
    withoutImages: 'they do not come from the pool',
    // Not behind a pool of its own, which would take what waits for what a killed daemon left.
    reopen: () => openEngine('contract'),
    beforeLaunch: () => until(() => (contract.pool?.().waiting ?? 1) > 0 || contract.pool?.().available === false),
  }),
);

describe.skipIf(whyNot)('the pool', () => {
  let name: string;
  let engine: Engine;
  const made: BerthSpec[] = [];
  beforeEach(() => {
    events = [];
    view = '/berth/fhs';
    name = `home-${randomBytes(3).toString('hex')}`;
  });
  afterEach(async () => {
    for (const { id } of made.splice(0)) await engine.remove(id);
    await engine.close?.();
    expect(await engine.list()).toEqual([]);
  });

  /** As berths.ts does: takes one that waits or a new id, writes the folder, launches. */
  async function launch(changes: Partial<BerthSpec> = {}, fhs = '/berth/fhs'): Promise<BerthSpec> {
    const work = join(directory, name, `work-${randomBytes(3).toString('hex')}`);
    mkdirSync(work, { recursive: true });
    const wanted = {
      ...{
        name: 'test',
        hostname: 'pool-test',
        image: null,
        ports: [],
        network: 'none' as const,
        command: null,
        labels: {},
        limits,
      },
      mounts: [wholeStore, { source: work, target: '/work', readOnly: false }],
      ...changes,
    };
    const id = engine.reserve?.(wanted)?.id ?? randomBytes(6).toString('hex');
    const spec = { ...wanted, id, runDirectory: join(directory, name, 'berths', id, 'run') };
    made.push(spec);
    mkdirSync(spec.runDirectory, { recursive: true });
    rmSync(join(spec.runDirectory, 'fhs'), { force: true });
    symlinkSync(fhs, join(spec.runDirectory, 'fhs'));
    writeFileSync(join(spec.runDirectory, 'environment'), 'GREETING=hello\0');
    if (spec.command)
      writeFileSync(join(spec.runDirectory, 'command'), spec.command.map((part) => `${part}\0`).join(''));
    await engine.launch(spec);
    return spec;
  }

  const claims = () => events.filter((event) => event.type === 'pool.claimed').map((event) => event.id);

  it('gives a waiting container folder, host name, variables and command', async () => {
    engine = openPool(name);
    await waits(engine, 1);
    const spec = await launch({
      command: [
        'sh',
        '-c',
        'hostname > /work/made; cat /nix/store/aaa-hello/text >> /work/made; echo $GREETING >> /work/made; sleep 60',
      ],
    });
    expect(claims()).toEqual([spec.id]);
    const work = spec.mounts[1]?.source ?? '';
    await until(
      () => existsSync(join(work, 'made')) && readFileSync(join(work, 'made'), 'utf8') === 'pool-test\nhello\nhello\n',
    );
    expect(await run(spec, 'touch /nix/store/x 2>/dev/null || echo read-only; pwd')).toBe('read-only\n/work\n');
    expect(await engine.inspect(spec.id)).toMatchObject({ state: 'running' });
    // It is a berth like any other: stopped and started again it has all of that.
    await engine.stop(spec.id, 500);
    await engine.start(spec);
    expect(await run(spec, 'hostname; cat /nix/store/aaa-hello/text; cat made')).toContain(
      'pool-test\nhello\npool-test\n',
    );
  });

  it('gives one container to one of two who ask at once', async () => {
    engine = openPool(name, { max: 1 });
    await waits(engine, 1);
    const waiting = engine.pool?.().ids;
    const both = await Promise.all([launch(), launch()]);
    expect(both.filter(({ id }) => waiting?.includes(id))).toHaveLength(1);
    expect(claims()).toHaveLength(1);
    expect(await Promise.all(both.map((spec) => run(spec, 'echo $GREETING; hostname')))).toEqual(
      Array(2).fill('hello\npool-test\n'),
    );
  });

  it('serves a burst that drains it, and then has as many as the burst needed', async () => {
    engine = openPool(name, { min: 2, max: 5 });
    await waits(engine, 2);
    const specs = await Promise.all(Array.from({ length: 6 }, () => launch()));
    expect(new Set(specs.map(({ id }) => id)).size).toBe(6);
    expect(await Promise.all(specs.map((spec) => run(spec, 'echo $GREETING')))).toEqual(Array(6).fill('hello\n'));
    expect(engine.pool?.()).toMatchObject({ hits: 2, misses: 4 });
    expect(events).toContainEqual({ type: 'pool.missed', engine: 'embedded', reason: 'none waits' });
    await waits(engine, 5);
  });

  it('lets the surplus go when nobody asks any more, with all that it took', async () => {
    engine = openPool(name, { min: 0, idleMs: 1500 });
    await Promise.all([launch(), launch()]);
    await until(() => (engine.pool?.().waiting ?? 0) > 0);
    const ids = engine.pool?.().ids ?? [];
    expect(engine.pool?.().memoryBytes).toBeGreaterThan(10_000);
    await waits(engine, 0);
    await until(() => ids.every((id) => !existsSync(join(directory, name, 'state/berths', id))));
    expect(ids.filter((id) => existsSync(join(directory, name, 'berths', id)))).toEqual([]);
  });

  it('sets limits that differ before the first command runs', async () => {
    engine = openPool(name);
    await waits(engine, 1);
    const spec = await launch({
      limits: { memoryBytes: 64 << 20, cpus: 0.5, pids: 20 },
      command: ['sh', '-c', 'for i in $(seq 30); do sleep 30 & done; echo unlimited > /work/made'],
    });
    expect(claims()).toEqual([spec.id]);
    const [memory, pids, cpu] = [
      ['memory', 'limit_in_bytes', 'memory.max'],
      ['pids', 'max', 'pids.max'],
      ['cpu', 'cfs_quota_us', 'cpu.max'],
    ].map(([controller = '', v1 = '', v2 = '']) => {
      const paths = [
        join('/sys/fs/cgroup', controller, cgroupParent, spec.id, `${controller}.${v1}`),
        join('/sys/fs/cgroup', cgroupParent, spec.id, v2),
      ];
      return readFileSync(paths.find((path) => existsSync(path)) ?? '', 'utf8').trim();
    });
    expect({ memory, pids, cpu: cpu?.split(' ')[0] }).toEqual({ memory: String(64 << 20), pids: '20', cpu: '50000' });
    await until(() => existsSync(join(spec.runDirectory, 'exit')));
    expect(existsSync(join(spec.mounts[1]?.source ?? '', 'made'))).toBe(false);
  });

  it('shows the paths of its closure only, and those read-only', async () => {
    engine = openPool(name, { usual: { network: 'none', isolation: 'closure' } });
    await waits(engine, 1);
    const only = ['aaa-hello', 'ccc-file', 'ddd-link'];
    for (const waited of [true, false]) {
      const work = join(directory, name, `closure-${String(waited)}`);
      mkdirSync(work);
      const spec = await launch({
        ...(waited ? {} : { network: 'host' }),
        mounts: [
          { ...wholeStore, only },
          { source: work, target: '/work', readOnly: false },
        ],
      });
      expect(claims().includes(spec.id)).toBe(waited);
      const script =
        'ls /nix/store; cat /nix/store/ddd-link/text /nix/store/ccc-file; for to in x aaa-hello/x ccc-file; do echo 2>/dev/null > /nix/store/$to || echo read-only; done';
      expect(await run(spec, script)).toBe(`${only.join('\n')}\nhello\na file\n${'read-only\n'.repeat(3)}`);
    }
  });

  it('shows the /etc of its own view, whichever the container waited with', async () => {
    const [one, two] = ['/nix/store/view-one', '/nix/store/view-two'] as const;
    const list =
      'cd /etc; cat one.conf two.conf both.conf shared/* 2>/dev/null; head -1 passwd; ls .berth.new 2>/dev/null';
    engine = openPool(name, { max: 1 });
    for (const [waited, wanted, text] of [
      ['/berth/fhs', one, 'one\none\none\n'],
      [one, one, 'one\none\none\n'],
      [one, two, 'two\ntwo\ntwo\n'],
      [two, '/berth/fhs', ''],
    ] as const) {
      view = waited;
      // What waits already was made with the view before.
      await waits(engine, 1);
      await engine.remove((await launch()).id);
      await waits(engine, 1);
      const spec = await launch({}, wanted);
      expect(claims()).toContain(spec.id);
      expect(await run(spec, list)).toBe(`${text}root:x:0:0:root:/root:/bin/sh\n`);
    }
  });

  it('never gives a container twice', async () => {
    engine = openPool(name);
    const seen: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      await until(() => (engine.pool?.().waiting ?? 0) > 0);
      const spec = await launch();
      expect(await run(spec, 'ls /tmp; touch /tmp/mine')).toBe('');
      seen.push(spec.id);
      await engine.remove(spec.id);
    }
    expect(new Set(seen).size).toBe(4);
    expect(engine.pool?.().hits).toBe(4);
  });

  it('launches anew where the waiting one has died, under the same id', async () => {
    engine = openPool(name, { max: 1 });
    await waits(engine, 1);
    const [id = ''] = engine.pool?.().ids ?? [];
    const state = await engine.inspect(id);
    if (state.state === 'running') process.kill(state.pid, 'SIGKILL');
    await until(async () => (await engine.inspect(id)).state !== 'running');
    const spec = await launch();
    expect(spec.id).toBe(id);
    expect(await run(spec, 'echo $GREETING')).toBe('hello\n');
    expect(claims()).toEqual([]);
  });

  it('goes on after a daemon that was killed: claimed ones run, waiting ones and halves are removed', async () => {
    const killed = openPool(name, { min: 2 });
    engine = killed;
    await waits(engine, 2);
    const claimed = await launch();
    await waits(engine, 2);
    const half = engine.reserve?.({ ...claimed })?.id ?? '';
    await waits(engine, 2);
    const waiting = engine.pool?.().ids ?? [];
    expect(waiting).toContain(half);
    // The earlier daemon does nothing more; another one comes.
    engine = openPool(name, { min: 0 });
    await engine.adopt(claimed);
    expect(await engine.list()).toEqual([claimed.id]);
    expect(await run(claimed, 'echo $GREETING')).toBe('hello\n');
    expect(await Promise.all(waiting.map((id) => engine.inspect(id)))).toEqual(waiting.map(() => ({ state: 'gone' })));
    await killed.close?.();
  });

  it('says why it can not, and launches', async () => {
    const plain = openEngine(name);
    const reason = 'only root can attach folders to what runs';
    const binding = plain.lateBinding;
    if (!binding) throw new TypeError('the embedded engine can bind late');
    Object.defineProperty(plain, 'lateBinding', {
      value: { ...binding, available: () => Promise.resolve({ available: false, reason }) },
    });
    engine = createPooledEngine(plain, {
      ...{ min: 1, max: 8, targetHitRate: 1, idleMs: 60_000, limits, shared: [wholeStore] },
      usual: { network: 'none', isolation: 'whole' },
      folders,
      berthsDirectory: join(directory, name, 'berths'),
      directory: join(directory, name, 'waiting'),
      emit: (event) => events.push(event),
    });
    await until(() => engine.pool?.().available === false);
    const spec = await launch();
    expect(await run(spec, 'echo $GREETING')).toBe('hello\n');
    expect(engine.pool?.()).toMatchObject({ available: false, reason, waiting: 0, target: 0, misses: 1 });
    expect(events).toContainEqual({ type: 'pool.unavailable', engine: 'embedded', reason });
    expect(events).toContainEqual({ type: 'pool.missed', engine: 'embedded', reason });
  });
});

async function run(spec: BerthSpec, script: string): Promise<string> {
  const execution = await execInBerth(join(spec.runDirectory, 'agent.sock'), { argv: ['sh', '-c', script] });
  execution.stdin.end();
  const [stdout] = await Promise.all([textOf(execution.stdout), execution.exit]);
  return stdout;
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}
