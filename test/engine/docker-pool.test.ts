/** The pool in front of engine docker, against a Docker server that is started for it. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BerthEvent } from '../../src/core/events.ts';
import { execInBerth } from '../../src/engine/agent/agent-client.ts';
import { createDockerEngine } from '../../src/engine/docker/docker-engine.ts';
import type { BerthSpec, Engine, Mount } from '../../src/engine/engine.ts';
import { createPooledEngine, type PoolOptions } from '../../src/engine/pool/pooled-engine.ts';
import { createWaitingFolders } from '../../src/materialise/waiting-folders.ts';
import { startDockerServer } from '../support/docker-server.ts';
import { nativeDirectory } from '../support/native-directory.ts';
import { until } from '../support/until.ts';

const server = await startDockerServer();
const whyNot = 'unavailable' in server ? server.unavailable : undefined;
const socketPath = 'unavailable' in server ? '' : server.socketPath;
const directory = mkdtempSync(join(tmpdir(), 'berth-docker-pool-'));
const limits = { memoryBytes: 1 << 30, cpus: null, pids: 512 };

const store = join(directory, 'store');
mkdirSync(join(store, 'aaa-hello'), { recursive: true });
writeFileSync(join(store, 'aaa-hello/text'), 'hello\n');
const folders = createWaitingFolders(() => true);
const wholeStore: Mount = { source: store, target: '/nix/store', readOnly: true };

afterAll(async () => {
  if (!('unavailable' in server)) await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe.skipIf(whyNot)('the pool of engine docker', () => {
  let events: BerthEvent[] = [];
  let engine: Engine;
  const made: BerthSpec[] = [];
  beforeEach(() => {
    events = [];
  });
  afterEach(async () => {
    for (const { id } of made.splice(0)) await engine.remove(id);
    await engine.close?.();
    expect(await engine.list()).toEqual([]);
  });

  const openEngine = () =>
    createDockerEngine({
      socketPath,
      stateDirectory: join(directory, 'state'),
      busybox: '/usr/bin/busybox',
      nativeDirectory,
    });

  function openPool(options: Partial<PoolOptions> = {}): Engine {
    return createPooledEngine(openEngine(), {
      ...{ min: 1, max: 4, targetHitRate: 1, idleMs: 60_000, refillDelayMs: 10, limits },
      shared: [wholeStore],
      usual: { network: 'none', isolation: 'whole' },
      folders,
      berthsDirectory: join(directory, 'berths'),
      directory: join(directory, 'waiting'),
      emit: (event) => events.push(event),
      ...options,
    });
  }

  const waits = (count: number) =>
    until(() => engine.pool?.().waiting === count && engine.pool().starting === 0, 30_000);
  const claims = () => events.filter((event) => event.type === 'pool.claimed').map((event) => event.id);

  async function launch(changes: Partial<BerthSpec> = {}): Promise<BerthSpec> {
    const work = join(directory, `work-${randomBytes(3).toString('hex')}`);
    mkdirSync(work);
    const wanted = {
      ...{ name: 'test', hostname: 'pool-test', image: null, ports: [], network: 'none' as const, command: null },
      ...{ labels: {}, limits },
      mounts: [wholeStore, { source: work, target: '/work', readOnly: false }],
      ...changes,
    };
    const id = engine.reserve?.(wanted)?.id ?? randomBytes(6).toString('hex');
    const spec = { ...wanted, id, runDirectory: join(directory, 'berths', id, 'run') };
    made.push(spec);
    const content = { variables: { GREETING: 'hello' }, shellHook: '', functions: '', fhs: null };
    folders.write(spec.runDirectory, { ...content, command: spec.command }, 1);
    await engine.launch(spec);
    return spec;
  }

  const script = 'hostname; cat /nix/store/aaa-hello/text; echo $GREETING; pwd; touch mine';
  const answer = 'pool-test\nhello\nhello\n/work\n';

  it('gives a waiting container all that a berth has, and again after a stop', async () => {
    engine = openPool();
    await waits(1);
    const command = ['sh', '-c', 'hostname > /work/made; sleep 60'];
    const spec = await launch({ command });
    expect(claims()).toEqual([spec.id]);
    expect(await run(spec, script)).toBe(answer);
    const work = spec.mounts[1]?.source ?? '';
    await until(() => existsSync(join(work, 'made')));
    await engine.stop(spec.id, 500);
    rmSync(join(work, 'made'));
    await engine.start(spec);
    expect(await run(spec, script)).toBe(answer);
    await until(() => existsSync(join(work, 'made')) && readFileSync(join(work, 'made'), 'utf8') === 'pool-test\n');
  });

  it('gives one container to one of two who ask at once, and serves a burst that drains it', async () => {
    engine = openPool({ max: 2 });
    await waits(1);
    const waiting = engine.pool?.().ids ?? [];
    const specs = await Promise.all([launch(), launch(), launch()]);
    expect(specs.filter(({ id }) => waiting.includes(id))).toHaveLength(1);
    expect(await Promise.all(specs.map((spec) => run(spec, script)))).toEqual(Array(3).fill(answer));
    expect(engine.pool?.()).toMatchObject({ hits: 1, misses: 2 });
    await waits(2);
  });

  it('sets limits that differ before the first command runs', async () => {
    engine = openPool();
    await waits(1);
    const spec = await launch({
      limits: { memoryBytes: 64 << 20, cpus: 0.5, pids: 20 },
      command: ['sh', '-c', 'for i in $(seq 30); do sleep 30 & done; echo unlimited > /work/made'],
    });
    expect(claims()).toEqual([spec.id]);
    const { HostConfig } = await new Docker({ socketPath }).getContainer(await containerOf(spec.id)).inspect();
    expect(HostConfig).toMatchObject({ Memory: 64 << 20, PidsLimit: 20 });
    await until(() => existsSync(join(spec.runDirectory, 'exit')));
    expect(existsSync(join(spec.mounts[1]?.source ?? '', 'made'))).toBe(false);
  });

  it('goes on after a daemon that was killed: claimed ones run, waiting ones are removed', async () => {
    const killed = openPool();
    engine = killed;
    await waits(1);
    const claimed = await launch();
    await waits(1);
    const [waiting = ''] = engine.pool?.().ids ?? [];
    engine = openPool({ min: 0 });
    await engine.adopt(claimed);
    expect(await engine.list()).toEqual([claimed.id]);
    expect(await engine.inspect(waiting)).toEqual({ state: 'gone' });
    expect(await run(claimed, script)).toBe(answer);
    await killed.close?.();
  });

  it('does not take a container for started that a killed daemon had not attached everything to', async () => {
    engine = openPool();
    await waits(1);
    const spec = await launch();
    await engine.stop(spec.id, 500);
    // As the daemon does it: marked, started by the server, and then it is killed.
    mkdirSync(join(directory, 'state/halves'), { recursive: true });
    writeFileSync(join(directory, 'state/halves', spec.id), '');
    await new Docker({ socketPath }).getContainer(await containerOf(spec.id)).start();
    const next = openEngine();
    await next.adopt(spec);
    expect(await next.inspect(spec.id)).toMatchObject({ state: 'stopped' });
    await next.start(spec);
    expect(await run(spec, script)).toBe(answer);
    await next.close?.();
  });

  async function containerOf(id: string): Promise<string> {
    const all = await new Docker({ socketPath }).listContainers({ all: true });
    return all.find(({ Names }) => Names.some((name) => name.includes(id)))?.Id ?? '';
  }
});

async function run(spec: BerthSpec, script: string): Promise<string> {
  const execution = await execInBerth(join(spec.runDirectory, 'agent.sock'), { argv: ['sh', '-c', script] });
  execution.stdin.end();
  let text = '';
  for await (const chunk of execution.stdout) text += String(chunk);
  await execution.exit;
  return text;
}
