/** Garbage collection and disk usage, over a store of the test's own. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { seedArchive, seededPackages } from '../support/seed-archive.ts';
import { until } from '../support/until.ts';

const nowhere = 'http://127.0.0.1:9/debian';

let folder: string;
let flow: Flow;
beforeAll(async () => {
  const archive = await seedArchive();
  folder = mkdtempSync('/tmp/berth-gc-');
  flow = await createFlow({
    storeRoot: join(folder, 'store'),
    variables: { BERTH_DEBIAN_MIRROR: nowhere, BERTH_DEBIAN_SECURITY_MIRROR: nowhere, BERTH_GC_KEEP_DAYS: '0' },
  });
  await flow.storage.importSeeds(archive, { trust: true }, flow.context('import'));
});
afterAll(async () => {
  await flow.close();
  rmSync(folder, { recursive: true, force: true });
});

const config = (packages: string, extra = '') => `{ pkgs }: { packages = [ ${packages} ]; ${extra} }`;

async function up(packages: string, extra = '') {
  const project = await flow.project({ 'config.nix': config(packages, extra) });
  return { project, ...(await flow.service.up({ path: project }, flow.context('up'))) };
}

async function inBerth(name: string, script: string) {
  const { agentSocket } = await flow.service.get(name);
  return runIn(agentSocket, ['sh', '-c', script]);
}

const collect = (dryRun = false) => flow.storage.collectGarbage({ dryRun }, flow.context('gc'));

/** The greeting is told apart by its text, so that each environment has paths of its own. */
const greeting = (text: string) => `env.GREETING = "\${pkgs.writeText "greeting" "${text}"}";`;

describe('du', () => {
  test('tells what is shared and what is whose', async () => {
    const berth = await up('pkgs.jq', greeting('du'));
    const usage = await flow.storage.diskUsage();
    const mine = usage.environments.find((it) => it.digest === berth.environmentDigest);
    expect(mine?.berths).toEqual([berth.name]);
    expect(mine?.name).toBe(join(berth.project, 'config.nix'));
    expect(mine?.bytes).toBe(berth.closure.bytes);
    expect(mine?.paths).toBe(berth.closure.paths);
    expect((mine?.sharedBytes ?? 0) + (mine?.uniqueBytes ?? 0)).toBe(mine?.bytes);
    expect(mine?.uniqueBytes).toBeLessThan(100_000);
    expect(mine?.uniqueBytes).toBeGreaterThan(0);
    expect(usage.seeds.map((it) => it.name)).toEqual([...seededPackages]);
    expect(usage.sources).toHaveLength(1);
    expect(usage.store.neededBytes).toBeLessThanOrEqual(usage.store.bytes);
    await flow.service.remove(berth.name);
  });
});

describe('gc', () => {
  test('drops what nothing needs, as its dry run told, and nothing else', async () => {
    const kept = await up('pkgs.ripgrep', greeting('kept'));
    const gone = await up('pkgs.jq', greeting('gone'));
    const path = async (name: string) => (await inBerth(name, 'echo $GREETING; cat $GREETING')).stdout.split('\n');
    const [keptPath = '', keptText] = await path(kept.name);
    const [gonePath = '', goneText] = await path(gone.name);
    expect([keptText, goneText]).toEqual(['kept', 'gone']);
    await flow.service.remove(gone.name);
    const store = (it: string) => join(folder, 'store', it);

    const told = await collect(true);
    expect(told.environments).toContain(gone.environmentDigest);
    expect(existsSync(store(gonePath))).toBe(true);
    const done = await collect();
    expect(done).toMatchObject({ dryRun: false, environments: told.environments });
    // A process that has just ended may still hold one or two.
    expect(Math.abs(told.store.paths - done.store.paths)).toBeLessThan(5);
    expect(done.store.paths).toBeGreaterThan(0);
    expect(existsSync(store(gonePath))).toBe(false);
    expect(existsSync(store(keptPath))).toBe(true);

    // The berth goes on, the seeds are whole, and a second collection finds nothing.
    expect((await inBerth(kept.name, 'cat $GREETING && rg -c kept $GREETING')).stdout).toBe('kept1\n');
    expect((await flow.storage.listSeeds()).every((seed) => seed.closure.bytes > 0)).toBe(true);
    const second = await collect();
    expect(second.environments).toEqual([]);
    expect(second.store.paths).toBeLessThan(5);

    // A stopped berth is as good as one that runs.
    await flow.service.stop(kept.name, 1000);
    await collect();
    await flow.service.start(kept.name, flow.context('start'));
    expect((await inBerth(kept.name, 'cat $GREETING')).stdout).toBe('kept');
    await flow.service.remove(kept.name);
  });

  test('is followed by a new evaluation or build where something is needed again', async () => {
    const before = await up('pkgs.jq', greeting('again'));
    await flow.service.remove(before.name);
    await collect();
    const after = await flow.service.up({ path: before.project }, flow.context('up'));
    expect(after.cache).toMatchObject({ environment: 'miss', build: 'miss' });
    expect(after.environmentDigest).toBe(before.environmentDigest);
    await flow.service.remove(after.name);
  });

  test('spares what was evaluated and not built yet', async () => {
    const project = await flow.project({ 'config.nix': config('pkgs.jq', 'env.A = "1"; shellHook = "";') });
    await flow.service.environment({ path: project }, flow.context('first'));
    await collect();
    // The trace is still there or it is not: either way the environment comes.
    const again = await flow.service.environment({ path: project }, flow.context('second'));
    expect(again.environment.variables['A']).toBe('1');
  });

  test('at the same time as others begin harms none of them', async () => {
    const texts = ['one', 'two', 'three', 'four'];
    const work = { done: false };
    const collections = (async () => {
      let count = 0;
      while (!work.done) {
        await collect();
        count += 1;
      }
      return count;
    })();
    const berths: Awaited<ReturnType<typeof up>>[] = [];
    for (const text of texts) {
      const slow = `pkgs.runCommand "slow-${text}" { } "sleep 1; echo ${text} > $out"`;
      berths.push(await up('pkgs.jq', `env.SLOW = "\${${slow}}";`));
    }
    work.done = true;
    expect(await collections).toBeGreaterThan(2);
    for (const [index, berth] of berths.entries()) {
      expect((await inBerth(berth.name, 'cat $SLOW; jq -n 1')).stdout).toBe(`${texts[index]}\n1\n`);
      await flow.service.remove(berth.name);
    }
  });

  test('spares what runs in a container, and what its Nix makes only as long as that runs', async () => {
    const project = await flow.project({ 'config.nix': config('pkgs.jq', greeting('outside')) });
    const { name } = await flow.service.up({ path: project, withNix: true }, flow.context('up'));
    writeFileSync(join(project, 'config.nix'), config('pkgs.jq pkgs.ripgrep', greeting('inside')));
    // Built by the container's own nix-shell, and known to nobody outside.
    const shell = inBerth(
      name,
      "nix-shell --run 'echo $GREETING > entered; while [ ! -e go ]; do sleep 0.1; done; cat $GREETING; rg -c inside config.nix'",
    );
    const entered = join(project, 'entered');
    while (!existsSync(entered)) await sleep(50);
    const path = join(folder, 'store', readFileSync(entered, 'utf8').trim());
    // A link in the container that claims to be a root.
    const held = await inBerth(
      name,
      `cd /tmp && nix-build -o held -E 'with import <nixpkgs> { }; writeText "held" "x"'`,
    );
    const heldPath = join(folder, 'store', held.stdout.trim());
    expect([existsSync(path), existsSync(heldPath)]).toEqual([true, true]);

    await collect();
    expect(existsSync(path)).toBe(true);
    writeFileSync(join(project, 'go'), '');
    expect((await shell).stdout).toBe('inside1\n');

    await flow.service.remove(name);
    await collect();
    expect([existsSync(path), existsSync(heldPath)]).toEqual([false, false]);
    const auto = join(folder, 'store/nix/var/nix/gcroots/auto');
    expect(readdirSync(auto).map((link) => readlinkSync(join(auto, link)))).not.toContain('/tmp/held');
  });

  test('keeps the revision of a source as long as a lock names it', async () => {
    const berth = await up('pkgs.jq');
    await flow.service.remove(berth.name);
    await flow.storage.removeSeeds(seededPackages);
    // Projects of the other tests name it too.
    for (const { name } of (await flow.storage.diskUsage()).sources) expect(name).toMatch(/^bookworm/);
    expect((await collect()).sources).toEqual([]);
    // Its packages went with the seeds, and there is no mirror: but the index was read.
    const again = flow.service.environment({ path: berth.project }, flow.context('again'));
    await expect(again).rejects.toMatchObject({ code: 'MIRROR_UNREACHABLE' });
    rmSync(join(flow.home, 'projects'), { recursive: true });
    expect((await collect()).sources).toHaveLength(1);
    // A build that has just failed, or a program of Nix that is about to end, may still hold what it was about.
    await until(async () => {
      await collect();
      return (await flow.storage.diskUsage()).store.bytes < 10 * 2 ** 20;
    }, 60_000);
  });

  test('drops old logs and the folders of berths that nobody knows', async () => {
    const log = join(flow.home, 'log/builds/environment-x.log');
    mkdirSync(join(flow.home, 'log/builds'), { recursive: true });
    mkdirSync(join(flow.home, 'berths/0123'), { recursive: true });
    writeFileSync(log, 'old');
    utimesSync(log, 0, 0);
    const told = await collect(true);
    expect(told.files.count).toBeGreaterThanOrEqual(2);
    expect(existsSync(log)).toBe(true);
    await collect();
    expect([existsSync(log), existsSync(join(flow.home, 'berths/0123'))]).toEqual([false, false]);
  });
});
