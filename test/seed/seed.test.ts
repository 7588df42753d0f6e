/** Seeds: added, listed, moved as an archive and by a binary cache, and used where there is no network. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { SeedsMoved } from '../../src/environment/storage.ts';
import { createFlow, runIn, type Flow, type FlowOptions } from '../support/flow.ts';
import { serveFolder } from '../support/http-folder.ts';
import { lockSeeds, seedArchive, seededPackages } from '../support/seed-archive.ts';

// Nothing listens there: what still works needs no mirror.
const nowhere = 'http://127.0.0.1:9/debian';

const flows: Flow[] = [];
let folder: string;
let archive: string;
let keys: { readonly secret: string; readonly public: string };

beforeAll(async () => {
  archive = await seedArchive();
  folder = mkdtempSync('/tmp/berth-seed-');
  execFileSync('nix-store', ['--generate-binary-cache-key', 'test-1', join(folder, 'secret'), join(folder, 'public')], {
    stdio: 'pipe',
  });
  keys = { secret: join(folder, 'secret'), public: readFileSync(join(folder, 'public'), 'utf8').trim() };
});
afterEach(async () => {
  for (const flow of flows.splice(0)) await flow.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A Berth with a store of its own and no mirror. */
async function offline(variables: FlowOptions['variables'] = {}): Promise<Flow> {
  const storeRoot = mkdtempSync(join(folder, 'store-'));
  const flow = await createFlow({
    storeRoot,
    variables: { BERTH_DEBIAN_MIRROR: nowhere, BERTH_DEBIAN_SECURITY_MIRROR: nowhere, ...variables },
  });
  flows.push(flow);
  return flow;
}

async function seeded(variables: FlowOptions['variables'] = {}): Promise<Flow> {
  const flow = await offline(variables);
  await flow.storage.importSeeds(archive, { trust: true }, flow.context('import'));
  return flow;
}

describe('seeds', () => {
  test('are added once, listed with sizes and last use, and let go', async () => {
    const flow = await seeded();
    await lockSeeds(flow.home);
    const add = () => flow.storage.addSeeds({ names: ['jq', 'no-such'], configs: [] }, flow.context('add'));
    const added = await add();
    expect(added.seeds.map((seed) => seed.name)).toEqual(['jq']);
    expect(added.failed).toMatchObject([{ name: 'no-such', error: { code: 'UNKNOWN_PACKAGE' } }]);
    await add();
    const seeds = await flow.storage.listSeeds();
    expect(seeds.map((seed) => [seed.name, seed.usedAt])).toEqual([
      ['jq', null],
      ['nix-bin', null],
      ['ripgrep', null],
    ]);
    expect(seeds[0]?.closure.bytes).toBeGreaterThan(10 * 2 ** 20);

    const project = await flow.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.jq ]; }' });
    const up = await flow.service.up({ path: project }, flow.context('up'));
    expect(up.cache).toMatchObject({ environment: 'miss', build: 'hit' });
    expect((await flow.storage.listSeeds()).map((seed) => seed.usedAt !== null)).toEqual([true, false, false]);
    expect(await flow.storage.suggestSeeds(5)).toMatchObject([
      { name: 'jq', projects: 1, environments: 1, seeded: true },
    ]);

    await flow.storage.removeSeeds(['ripgrep']);
    expect((await flow.storage.listSeeds()).map((seed) => seed.name)).toEqual(['jq', 'nix-bin']);
    await expect(flow.storage.removeSeeds(['ripgrep'])).rejects.toMatchObject({ code: 'SEED_UNKNOWN' });
  });

  test('of a config hold its whole environment', async () => {
    const flow = await seeded();
    const project = await flow.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.jq pkgs.ripgrep ]; }' });
    const added = await flow.storage.addSeeds({ names: [], configs: [project] }, flow.context('add'));
    expect(added.seeds).toMatchObject([{ name: join(project, 'config.nix'), kind: 'config', packages: [{}, {}] }]);
    const other = await flow.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.ripgrep pkgs.jq ]; } # the same' });
    const up = await flow.service.up({ path: other }, flow.context('up'));
    expect(up.cache.build).toBe('hit');
  });
});

describe('an archive', () => {
  test('is refused when no trusted key has signed it, and leaves nothing behind', async () => {
    const flow = await offline();
    const importing = flow.storage.importSeeds(archive, {}, flow.context('import'));
    await expect(importing).rejects.toMatchObject({ code: 'UNSIGNED_PATH' });
    expect(await flow.storage.listSeeds()).toEqual([]);
    expect(readdirSync(join(flow.home, 'tmp'))).toEqual([]);
  });

  test('is all that a machine without a network needs, for other projects too', async () => {
    const flow = await seeded();
    const project = join(flow.home, 'new');
    mkdirSync(project);
    writeFileSync(join(project, 'config.nix'), '{ pkgs }: { packages = [ pkgs.jq pkgs.ripgrep ]; }');
    const up = await flow.service.up({ path: project }, flow.context('up'));
    const { agentSocket } = await flow.service.get(up.name);
    expect((await runIn(agentSocket, ['sh', '-c', 'echo \'{"a":7}\' | jq .a && rg -c jq config.nix'])).stdout).toBe(
      '7\n1\n',
    );
    const warnings = flow.events.filter((event) => event.type === 'warning').map((event) => event.message);
    expect(warnings.join()).toMatch(/bookworm .* is used, which is in the store/);
    expect(existsSync(join(project, 'berth.lock'))).toBe(true);
  });

  test('that is signed is taken by who trusts the key; a path that was changed is not', async () => {
    const source = await seeded();
    const signed = join(folder, 'signed.tar');
    const written = await source.storage.exportSeeds(
      signed,
      { names: ['jq'], keyFile: keys.secret },
      source.context('export'),
    );
    expect(written).toMatchObject({ names: ['jq'], place: signed });
    expect(written.bytes).toBeGreaterThan(2 ** 20);
    const flow = await offline({ BERTH_TRUSTED_PUBLIC_KEYS: keys.public });
    const taken = await flow.storage.importSeeds(signed, {}, flow.context('import'));
    expect(taken.closure).toEqual(written.closure);

    const changed = changedArchive(signed, (content) => {
      const names = readdirSync(content).filter((name) => name.endsWith('.narinfo'));
      const info = names.find((name) => readFileSync(join(content, name), 'utf8').includes('-jq-1'));
      const file = join(content, info ?? 'none');
      writeFileSync(file, readFileSync(file, 'utf8').replace(/^NarHash: sha256:..../m, 'NarHash: sha256:0000'));
    });
    const other = await offline();
    const importing = other.storage.importSeeds(changed, { trust: true }, other.context('import'));
    await expect(importing).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    expect(await other.storage.listSeeds()).toEqual([]);
  });

  test('that is none, or holds a link, is refused', async () => {
    const flow = await offline();
    const refused = async (file: string) => {
      await expect(flow.storage.importSeeds(file, { trust: true }, flow.context('import'))).rejects.toMatchObject({
        code: 'SEED_ARCHIVE_INVALID',
      });
    };
    await refused(join(folder, 'none.tar'));
    writeFileSync(join(folder, 'text.tar'), 'no archive');
    await refused(join(folder, 'text.tar'));
    await refused(changedArchive(archive, (content) => rmSync(join(content, 'berth-seeds.json'))));
    await refused(
      changedArchive(archive, (content) => writeFileSync(join(content, 'berth-seeds.json'), '{"format":1}')),
    );
    await refused(
      changedArchive(archive, (content) => {
        rmSync(join(content, 'berth-seeds.json'));
        symlinkSync('/etc/passwd', join(content, 'berth-seeds.json'));
      }),
    );
  });
});

describe('a binary cache', () => {
  test('takes seeds and gives them over HTTP', async () => {
    const source = await seeded();
    const cache = join(folder, 'cache');
    const pushed: SeedsMoved[] = [];
    for (const name of seededPackages) {
      pushed.push(
        await source.storage.pushSeeds(cache, { names: [name], keyFile: keys.secret }, source.context('push')),
      );
    }
    expect(pushed.map((it) => it.names)).toEqual(seededPackages.map((name) => [name]));
    const server = await serveFolder(cache);
    try {
      const flow = await offline({ BERTH_TRUSTED_PUBLIC_KEYS: keys.public });
      const pulled = await flow.storage.pullSeeds(server.url, {}, flow.context('pull'));
      expect([...pulled.names].sort()).toEqual([...seededPackages]);
      expect((await flow.storage.listSeeds()).map((seed) => seed.closure.paths > 20)).toEqual([true, true, true]);
      const stranger = await offline();
      await expect(stranger.storage.pullSeeds(server.url, {}, stranger.context('pull'))).rejects.toMatchObject({
        code: 'UNSIGNED_PATH',
      });
    } finally {
      await server.close();
    }
  });

  test('gives back what a garbage collection took, by itself', async () => {
    const flow = await seeded({ BERTH_GC_KEEP_DAYS: '0' });
    const project = await flow.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.jq ]; }' });
    const up = await flow.service.up({ path: project }, flow.context('up'));
    const cache = join(folder, 'gc-cache');
    await flow.storage.pushSeeds(cache, { keyFile: keys.secret }, flow.context('push'));
    await flow.service.remove(up.name);
    await flow.storage.removeSeeds(seededPackages);
    const report = await flow.storage.collectGarbage({}, flow.context('gc'));
    expect(report.store.bytes).toBeGreaterThan(10 * 2 ** 20);
    const server = await serveFolder(cache);
    flow.settings.BERTH_SUBSTITUTERS = server.url;
    flow.settings.BERTH_TRUSTED_PUBLIC_KEYS = keys.public;
    try {
      await flow.restart();
      const again = await flow.service.up({ path: project }, flow.context('again'));
      expect(again.cache).toMatchObject({ environment: 'miss', build: 'miss' });
      expect(again.environmentDigest).toBe(up.environmentDigest);
      const { agentSocket } = await flow.service.get(again.name);
      expect((await runIn(agentSocket, ['jq', '-n', '1'])).stdout).toBe('1\n');
      expect(server.requests.some((path) => path.startsWith('/nar/'))).toBe(true);
    } finally {
      await server.close();
    }
  });
});

/** @returns a copy of the archive whose content was changed */
function changedArchive(file: string, change: (content: string) => void): string {
  const content = mkdtempSync(join(folder, 'content-'));
  execFileSync('tar', ['xf', file, '-C', content]);
  change(content);
  const changed = `${content}.tar`;
  execFileSync('tar', ['cf', changed, '-C', content, '.']);
  return changed;
}
