/**
 * Claims: from a request in the daemon to the first output of its command, against `docker run` of an image with the same
 * content; many at once; with closures of 1 to 1,000 paths; with 1,000 known environments. This process is the daemon: it
 * composes the service as the daemon does and asks it as berth-hot does.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import { EventBus, silent } from '../src/core/events.ts';
import { compose, type Composition } from '../src/daemon/compose.ts';
import { readSettings } from '../src/daemon/settings.ts';
import { execInBerth } from '../src/engine/agent/agent-client.ts';
import { containerMemory } from '../src/engine/pool/process-memory.ts';
import type { EphemeralBerth, UpRequest } from '../src/environment/service.ts';
import { createBerthHome } from './support/berth-home.ts';
import { importEnvironment, startDocker, type DockerServer } from './support/docker.ts';
import { inTurns, series, writeResult } from './support/measure.ts';

/** Samples of each side, and claims of the burst; fewer only to try the bench out. */
const runs = Number(process.env['BENCH_RUNS'] ?? 50);
const burst = Number(process.env['BENCH_BURST'] ?? 200);
const atOnce = 16;
const packages = '{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.git pkgs.ripgrep ]; }\n';
/** A closure of so many small paths. */
const closureOf = (paths: number) =>
  `{ ... }: { env.PATHS = builtins.concatStringsSep " " (builtins.genList (i: builtins.toFile "path-\${toString i}" "\${toString i}") ${paths}); }\n`;

const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
const docker = await startDocker();
const context = { emit: silent };
/** What was made, to be removed when the clock does not run. */
const made: EphemeralBerth[] = [];

/** @param variables settings besides the home's */
async function daemon(variables: Record<string, string>): Promise<Composition> {
  const socket = (docker.client[1] ?? '').replace('unix://', '');
  return compose(readSettings({ env: { ...berth.env, BERTH_DOCKER_SOCKET: socket, ...variables } }), new EventBus());
}

async function waits(composition: Composition, engine: string, count: number): Promise<void> {
  for (;;) {
    const pool = (await composition.service.pool()).find((each) => each.engine === engine);
    if (pool && !pool.available) throw new Error(`no pool of ${engine}: ${pool.reason}`);
    if (pool && pool.waiting >= count) return;
    await sleep(20);
  }
}

/** @returns milliseconds from the request to the first output of its command */
async function claim({ ready, service }: Composition, request: UpRequest): Promise<number> {
  const start = performance.now();
  const made1 = (await ready.run(request, context)) ?? (await service.run(request, context));
  const execution = await execInBerth(made1.agentSocket, { argv: ['echo', 'hello'], noStdin: true });
  await once(execution.stdout, 'data');
  const took = performance.now() - start;
  await execution.exit;
  made.push(made1);
  return took;
}

async function clear({ service }: Composition): Promise<void> {
  for (const each of made.splice(0)) await service.remove(each.id);
}

/** @returns milliseconds to the first output of `docker run` */
async function dockerRun(server: DockerServer, ...flags: string[]): Promise<number> {
  const start = performance.now();
  const child = spawn('docker', [...server.client, 'run', ...flags, 'bench:env', 'echo', 'hello'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  const took = performance.now() - start;
  await once(child, 'close');
  return took;
}

/** Runs so many, a few at once. @returns milliseconds for all */
async function manyAtOnce(count: number, work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let begun = 0;
  const worker = async () => {
    while (begun < count) {
      begun += 1;
      await work();
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
  return performance.now() - start;
}

/** Adds environments and traces that differ in their keys from the one that is there. */
function addKnownEnvironments(count: number): void {
  const database = new Database(join(berth.home, 'state.db'));
  try {
    for (let index = 1; index < count; index += 1) {
      database
        .prepare(
          `INSERT INTO environments SELECT environment_key || ?1, environment, used_at FROM environments
           WHERE environment_key NOT LIKE '%-copy-%' ORDER BY environment_key LIMIT 1`,
        )
        .run(`-copy-${index}`);
      database
        .prepare(
          `INSERT INTO traces SELECT subject || ?1, digest, file || ?1, environment_key || ?1, record, made FROM traces
           WHERE subject NOT LIKE '%-copy-%' ORDER BY subject LIMIT 1`,
        )
        .run(`-copy-${index}`);
    }
  } finally {
    database.close();
  }
}

const ratio = (one: number, other: number) => Math.round((one / other) * 10) / 10;

try {
  const project = berth.project('bench', packages);
  const { environment } = berth.environment(project);
  const sizes = [1, 100, 1000] as const;
  const closures = sizes.map((paths) => berth.project(`closure-${paths}`, closureOf(paths)));
  const paths = closures.map((closure) => berth.environment(closure).environment.closure.paths.length);
  berth.stopDaemon();
  importEnvironment(docker, storeRoot ?? join(berth.home, 'store'), environment, 'bench:env');

  // One claim after the other, each with a container that waits.
  let service = await daemon({ BERTH_POOL_MIN: '1' });
  const claimed = (engine: 'embedded' | 'docker', request: Partial<UpRequest> = {}, from = service) =>
    async function (): Promise<number> {
      const wanted = { path: project, engine, ...request };
      await clear(from);
      if (engine === 'docker' || request.isolation) {
        // Not the usual class: one waits after the first claim of it.
        const { classes } = (await from.service.pool()).find((each) => each.engine === engine) ?? { classes: [] };
        if (!classes.some((each) => each.isolation === (request.isolation ?? 'whole'))) await claim(from, wanted);
      }
      await waitsFor(from, engine, request.isolation ?? 'whole');
      await sleep(100);
      return claim(from, wanted);
    };
  async function waitsFor(from: Composition, engine: string, isolation: string): Promise<void> {
    for (;;) {
      const pool = (await from.service.pool()).find((each) => each.engine === engine);
      if (pool?.classes.some((each) => each.isolation === isolation && each.waiting > 0 && pool.starting === 0)) return;
      await sleep(20);
    }
  }
  const single = await inTurns(runs, {
    embedded: claimed('embedded'),
    docker: claimed('docker'),
    dockerRun: () => dockerRun(docker, '--rm'),
    dockerRunWithoutNetwork: () => dockerRun(docker, '--rm', '--network=none'),
  });

  // The same claim with closures of different size.
  const bySize: Record<string, () => Promise<number>> = {};
  for (const isolation of ['whole', 'closure'] as const) {
    sizes.forEach((size, index) => {
      bySize[`${isolation}${size}`] = claimed('embedded', { path: closures[index] ?? '', isolation });
    });
  }
  const sized = await inTurns(runs, bySize);
  const hitsOfOne = await hits(service);
  await clear(service);
  await service.close();

  addKnownEnvironments(1000);
  service = await daemon({});
  const hitsOfMany = await hits(service);
  await service.close();

  // Many at once, with as many waiting: what a service that expects them sets.
  service = await daemon({ BERTH_POOL_MIN: String(burst), BERTH_POOL_MAX: String(burst) });
  await waits(service, 'embedded', burst);
  const [full] = await service.service.pool();
  const claimedAll = await manyAtOnce(burst, () => claim(service, { path: project, engine: 'embedded' }));
  const [after] = await service.service.pool();
  const memory = made.map(({ id }) => memoryOf(id));
  await clear(service);
  await service.close();
  // And with a pool that the burst drains.
  service = await daemon({ BERTH_POOL_MIN: '16', BERTH_POOL_MAX: '16' });
  await waits(service, 'embedded', 16);
  const drainedAll = await manyAtOnce(burst, () => claim(service, { path: project, engine: 'embedded' }));
  await clear(service);
  await service.close();
  const dockerCount = Math.max(atOnce, Math.round(burst / 2));
  const dockerAll = await manyAtOnce(dockerCount, () => dockerRun(docker));

  const all = {
    embedded: series('request in the daemon to first output, engine embedded', 'ms', single['embedded'] ?? []),
    docker: series('request in the daemon to first output, engine docker', 'ms', single['docker'] ?? []),
    dockerRun: series(
      'docker run --rm to first output, same content, default network',
      'ms',
      single['dockerRun'] ?? [],
    ),
    dockerRunWithoutNetwork: series(
      'docker run --rm --network=none to first output, same content',
      'ms',
      single['dockerRunWithoutNetwork'] ?? [],
    ),
    ...Object.fromEntries(
      Object.entries(sized).map(([name, samples]) => [
        name,
        series(`request to first output, isolation and number of paths: ${name}`, 'ms', samples),
      ]),
    ),
    hitsOfOne: series('an environment looked up, few are known', 'ms', hitsOfOne),
    hitsOfMany: series('an environment looked up, 1,000 more are known', 'ms', hitsOfMany),
    memoryOfBerths: series('memory of a berth of the burst, its control group', 'bytes', memory),
  } as const;
  const median = (name: string) => (all as Record<string, { median: number }>)[name]?.median ?? NaN;
  const embedded = ratio(all.dockerRun.median, all.embedded.median);
  const onDocker = ratio(all.dockerRun.median, all.docker.median);
  const rate = (count: number, ms: number) => Math.round((count / ms) * 10_000) / 10;
  const rates = {
    claims: rate(burst, claimedAll),
    drained: rate(burst, drainedAll),
    docker: rate(dockerCount, dockerAll),
  };
  const growth = (isolation: string) => Math.round((median(`${isolation}1000`) - median(`${isolation}1`)) * 100) / 100;
  const hitGrowth = Math.round((all.hitsOfMany.median / all.hitsOfOne.median - 1) * 1000) / 10;
  writeResult({
    bench: 'claims',
    question: 'How long does a claim take, against `docker run` of an image with the same content?',
    series: all,
    figures: {
      embeddedP50: all.embedded.median,
      dockerRunToEmbedded: embedded,
      dockerRunWithoutNetworkToEmbedded: ratio(all.dockerRunWithoutNetwork.median, all.embedded.median),
      dockerRunToDockerClaim: onDocker,
      claimsPerSecond: rates.claims,
      claimsPerSecondDrained: rates.drained,
      dockerRunsPerSecond: rates.docker,
      rateRatio: ratio(rates.claims, rates.docker),
      rateRatioDrained: ratio(rates.drained, rates.docker),
      growthMsWhole: growth('whole'),
      growthMsClosure: growth('closure'),
      hitGrowthPercent: hitGrowth,
      waitingBytesEach: Math.round((full?.memoryBytes ?? NaN) / (full?.waiting ?? NaN)),
      berthBytesMedian: all.memoryOfBerths.median,
    },
    bounds: [
      { what: 'claim to first output, embedded', bound: 'p50 at most 6 ms', met: all.embedded.median <= 6 },
      { what: 'the same against docker run', bound: '100 times faster', met: embedded >= 100 },
      { what: 'on engine docker, against docker run', bound: '50 times faster', met: onDocker >= 50 },
      {
        what: `${burst} claims, ${atOnce} at once`,
        bound: '20 times the rate',
        met: rates.claims >= 20 * rates.docker,
      },
      { what: 'up, 1 to 1,000 paths, whole store', bound: 'grows less than 20 ms', met: growth('whole') < 20 },
      { what: 'up, 1 to 1,000 paths, closure only', bound: 'grows less than 20 ms', met: growth('closure') < 20 },
      { what: 'hit with 1,000 known environments', bound: 'within 10 %', met: hitGrowth <= 10 },
    ],
    notes: [
      `Of the burst ${(after?.hits ?? 0).toString()} of ${burst} found a container waiting; none failed.`,
      `Closures have ${paths.join(', ')} paths. Memory of waiting ones counts the network's helper, a berth's does not.`,
      `docker run: ${dockerCount} at the rate, since each takes so long; the containers of both sides are kept meanwhile.`,
    ],
  });
} finally {
  await docker.close();
  berth.close();
}

async function hits(from: Composition): Promise<number[]> {
  const samples: number[] = [];
  for (let run = -500; run < runs * 4; run += 1) {
    const start = performance.now();
    const known = from.ready.environment({ path: join(berth.home, 'projects/bench') }, context);
    const took = performance.now() - start;
    if (!known) throw new Error('the environment is not known');
    if (run >= 0) samples.push(took);
    if (run >= 0) await sleep(2);
  }
  return samples;
}

function memoryOf(id: string): number {
  const pid = Number(readFileSync(join(berth.home, 'engine/embedded/berths', id, 'pid'), 'utf8'));
  return containerMemory(pid) ?? NaN;
}
