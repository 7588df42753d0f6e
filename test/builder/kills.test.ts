/** Builds of a whole Berth with real Nix: one for many callers, and what a kill of a worker or of the daemon leaves. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nameOf, processesOf } from '../../src/builder/worker-contract.ts';
import { buildIfStale, createCliHome, isAlive, until, type CliHome } from '../cli/cli-home.ts';
import { createFlow, type Flow } from '../support/flow.ts';
import { testHome } from '../support/test-home.ts';

/** @returns a config whose environment is new each time, and waits where a file says so */
const slow = (mark: string) => `{ pkgs, ... }: {
  packages = [ (pkgs.runCommand "slow-${mark}" { } "echo begun; sleep 3; mkdir $out") ];
}`;

let number = 0;
const newMark = () => `${process.pid}${Date.now()}${(number += 1)}`;
/** @returns the Nix of the workers of a home, which is in its variables */
const nixOf = (home: string) =>
  processesOf('--realise').filter(
    (pid) => nameOf(pid) === 'nix-store' && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`${home}/nix`),
  );

describe('builds', () => {
  let flow: Flow | undefined;
  afterEach(async () => {
    await flow?.close();
    flow = undefined;
  });

  it('of the same meaning are one, however many configs and callers ask; a comment builds nothing', async () => {
    flow = await createFlow();
    const mark = newMark();
    const { service } = flow;
    const projects = await Promise.all([
      flow.project({ 'config.nix': slow(mark) }),
      flow.project({ 'config.nix': `# other\n${slow(mark)}` }),
    ]);
    await Promise.all(
      [0, 1, 2, 3].map((caller) =>
        service.environment({ path: projects[caller % 2] ?? '' }, flow!.context(`many-${caller}`)),
      ),
    );
    const third = await flow.project({ 'config.nix': `${slow(mark)}\n# a comment` });
    const { cache } = await service.environment({ path: third }, flow.context('comment'));
    expect(cache.build).toBe('hit');
    const started = flow.events.filter((event) => event.type === 'build.started' && !event.joined);
    expect(started).toHaveLength(1);
  });

  it('go to another worker when theirs is killed', async () => {
    flow = await createFlow({ variables: { BERTH_BUILDER_WORKERS: '2' } });
    const mark = newMark();
    const project = await flow.project({ 'config.nix': slow(mark) });
    const { events, service } = flow;
    const work = service.environment({ path: project }, flow.context('killed'));
    await until(() => events.some((event) => event.type === 'log' && event.line === 'begun'), 30_000);
    for (const pid of nixOf(flow.home)) process.kill(pid, 'SIGKILL');
    await work;
    const workers = events.flatMap((event) => (event.type === 'build.started' ? [event.worker] : []));
    expect(workers).toHaveLength(2);
    expect(new Set(workers).size).toBe(2);
    expect(events.filter((event) => event.type === 'build.retried')).toHaveLength(1);
  });
});

describe('a daemon that is killed in a build', () => {
  beforeAll(buildIfStale);
  let cli: CliHome;
  afterEach(() => cli.close());

  it('has it taken up by the next one, and who asks again joins it', async () => {
    cli = createCliHome();
    const env = { BERTH_SOURCE: 'debian', BERTH_DEBIAN_SUITE: 'bookworm', BERTH_STORE_ROOT: join(testHome, 'store') };
    const flow = await createFlow();
    try {
      const project = await flow.project({ 'config.nix': slow(newMark()) });
      const first = cli.start(['env', project, '--json'], { env });
      const active = async () => {
        const { stdout } = await cli.berth(['builds', 'list', '--active', '--json'], { env });
        return (JSON.parse(stdout) as { builds: { id: string; state: string }[] }).builds;
      };
      await until(async () => (await active())[0]?.state === 'running', 60_000);
      const [build] = await active();
      const pid = cli.daemonPid()!;
      process.kill(pid, 'SIGKILL');
      await until(() => !isAlive(pid));
      expect((await first.outcome).code).not.toBe(0);
      // The worker went with it.
      await until(() => nixOf(cli.home).length === 0);
      const again = await cli.berth(['env', project, '--json'], { env });
      expect(again).toMatchObject({ code: 0 });
      const shown = JSON.parse((await cli.berth(['builds', 'show', build!.id, '--json'], { env })).stdout) as object;
      expect(shown).toMatchObject({ id: build!.id, state: 'succeeded', attempts: 2 });
      const list = JSON.parse((await cli.berth(['builds', 'list', '--json'], { env })).stdout) as { builds: unknown[] };
      expect(list.builds).toHaveLength(1);
      const log = await cli.berth(['builds', 'logs', build!.id], { env });
      expect(log.stdout).toContain('begun');
      expect(readFileSync(cli.log, 'utf8')).not.toContain('"code":"INTERNAL"');
    } finally {
      await flow.close();
    }
  });
});
