/** The source nixpkgs against a tree in its shape, served over HTTP beside a binary cache that is signed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../src/core/events.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import type { BinaryCache } from '../../src/nix/realise.ts';
import { physicalPath } from '../../src/nix/store.ts';
import { createNixpkgsSource, stableReleases } from '../../src/sources/nixpkgs/source.ts';
import type { LockedSource } from '../../src/sources/source.ts';
import { serveFolder, type HttpFolder } from '../support/http-folder.ts';
import { makeNixFixture, removeStore, repository, writeFiles, type NixFixture } from '../support/nixpkgs-fixture.ts';

let upstream: NixFixture;
let server: HttpFolder;
let cache: BinaryCache;
let unsigned: BinaryCache;
let hello: string;
const homes: { root: string; nix: Nix }[] = [];
const context = { emit: silent };
const config = '{ pkgs, ... }: { packages = [ pkgs.hello pkgs.greeter ]; }';

beforeAll(async () => {
  upstream = await makeNixFixture();
  const www = join(upstream.root, 'www');
  mkdirSync(www);
  server = await serveFolder(www);
  packTree('nixpkgs-26.05.tar.gz', '26.05');

  // What the upstream builds goes into its cache, signed; and into another, unsigned.
  const key = join(upstream.root, 'key');
  const generate = ['--generate-binary-cache-key', 'test-1', key, `${key}.pub`];
  execFileSync('nix-store', generate, {
    env: {
      PATH: process.env['PATH'],
      HOME: upstream.root,
      NIX_REMOTE: upstream.nix.store.root,
      NIX_CONFIG: 'build-users-group =',
    },
  });
  const directory = upstream.project({ 'config.nix': config });
  const evaluation = await upstream.nix.evaluate(upstream.request(directory));
  if (!evaluation.ok) throw evaluation.error;
  const { paths } = await upstream.nix.realise([evaluation.result.drvPath]);
  const closure = await upstream.nix.closureOf(paths);
  hello = closure.paths.find((path) => path.endsWith('-hello-2.12'))!;
  await upstream.nix.copyToCache(`file://${www}/cache?secret-key=${key}`, paths);
  await upstream.nix.copyToCache(`file://${www}/unsigned`, paths);
  const publicKey = readFileSync(`${key}.pub`, 'utf8').trim();
  cache = { url: `${server.url}/cache`, publicKey };
  unsigned = { url: `${server.url}/unsigned`, publicKey };
});
afterAll(async () => {
  for (const { root, nix } of homes) {
    await nix.close();
    removeStore(root);
  }
  await server.close();
  await upstream.close();
});

function packTree(name: string, version: string): void {
  const staging = mkdtempSync(join(upstream.root, 'pack-'));
  execFileSync('cp', ['-r', `${join(upstream.root, 'nixpkgs')}/.`, staging]);
  writeFiles(staging, { '.version': version, '.git-revision': 'a'.repeat(40) });
  execFileSync('tar', ['-czf', join(upstream.root, 'www', name), '-C', staging, '--transform', 's,^\\.,nixpkgs,', '.']);
}

function freshNix(): { root: string; nix: Nix } {
  const root = mkdtempSync(join(tmpdir(), 'berth-fresh-'));
  const nix = createNix({
    store: { kind: 'managed', root: join(root, 'store') },
    nixFolder: join(repository, 'nix'),
    home: join(root, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  homes.push({ root, nix });
  return { root, nix };
}

function sourceOf(home: { root: string; nix: Nix }, url = `${server.url}/nixpkgs-26.05.tar.gz`) {
  return createNixpkgsSource({ nix: home.nix, folder: join(home.root, 'lists'), url });
}

describe('locking', () => {
  it('pins the tree by address, revision and hash, the same everywhere', async () => {
    const locked = await sourceOf(freshNix()).lock({}, context);
    expect(locked).toMatchObject({
      kind: 'nixpkgs',
      label: 'nixpkgs 26.05 aaaaaaa',
      pin: { url: `${server.url}/nixpkgs-26.05.tar.gz`, rev: 'a'.repeat(40) },
    });
    expect(await sourceOf(freshNix()).lock({}, context)).toEqual(locked);
  });

  it('takes a folder of this machine, and the address that a request names', async () => {
    const home = freshNix();
    const folder = join(upstream.root, 'nixpkgs');
    const source = sourceOf(home);
    const locked = await source.lock({ url: folder }, context);
    expect(locked.pin['path']).toBe(upstream.source.storePaths[0]);
    await expect(source.lock({ url: `${server.url}/absent.tar.gz` }, context)).rejects.toMatchObject({
      code: 'DOWNLOAD_GONE',
    });
    await expect(source.lock({ url: 'http://127.0.0.1:1/x.tar.gz' }, context)).rejects.toMatchObject({
      code: 'MIRROR_UNREACHABLE',
    });
    await expect(source.lock({ url: 'nixpkgs' }, context)).rejects.toMatchObject({ code: 'SETTING_INVALID' });
  });

  it('takes a revision of a repository as a tarball', async () => {
    const asked: string[] = [];
    const nix = {
      ...freshNix().nix,
      fetch: (fetch: { arguments: Readonly<Record<string, unknown>> }) => {
        asked.push(String(fetch.arguments['url']));
        return Promise.reject(new Error('offline'));
      },
    };
    const source = createNixpkgsSource({
      nix,
      folder: upstream.root,
      url: 'https://github.com/someone/nixpkgs',
      rev: 'b'.repeat(40),
    });
    await expect(source.lock({}, context)).rejects.toThrow('offline');
    expect(asked).toEqual([`https://github.com/someone/nixpkgs/archive/${'b'.repeat(40)}.tar.gz`]);
  });

  it('looks for the newest stable release first', () => {
    expect(stableReleases(new Date('2026-11-24'))).toEqual(['26.11', '26.05', '25.11']);
    expect(stableReleases(new Date('2026-04-01'))).toEqual(['25.11', '25.05', '24.11']);
  });
});

describe('a fresh store', () => {
  it('downloads what the cache has signed, builds nothing of it, and downloads again what was collected', async () => {
    const home = freshNix();
    const source = sourceOf(home);
    const prepared = await source.prepare(await source.lock({}, context), context);
    const directory = upstream.project({ 'config.nix': config });
    const evaluation = await home.nix.evaluate(upstream.request(directory, { sources: { pkgs: prepared } }));
    if (!evaluation.ok) throw evaluation.error;

    const built: string[] = [];
    const emit = (event: { type: string; derivation?: string }) => {
      if (event.type === 'derivation.started') built.push(event.derivation ?? '');
    };
    const { paths } = await home.nix.realise([evaluation.result.drvPath], { caches: [cache], emit });
    // Only the environment's own derivation, which takes a moment.
    expect(built.map((path) => path.replace(/^.*?-/, ''))).toEqual(['environment.drv']);
    expect(server.requests.some((path) => path.startsWith('/cache/nar/'))).toBe(true);
    expect(existsSync(physicalPath(home.nix.store, `${hello}/bin/hello`))).toBe(true);

    // A root keeps all of it; without one it goes, and comes back by itself.
    await home.nix.roots.add('kept', paths[0]!);
    await home.nix.collectGarbage();
    expect(await home.nix.validPaths([hello])).toEqual([hello]);
    await home.nix.roots.remove('kept');
    expect((await home.nix.collectGarbage({ dryRun: true })).paths).toContain(hello);
    expect(await home.nix.validPaths([hello])).toEqual([hello]);
    const collected = await home.nix.collectGarbage();
    expect(collected.paths).toContain(hello);
    expect(collected.freedBytes).toBeGreaterThan(1_000_000);
    expect(await home.nix.validPaths([hello, ...prepared.storePaths])).toEqual([]);

    const again = await source.prepare(await source.lock({}, context), context);
    const second = await home.nix.evaluate(upstream.request(directory, { sources: { pkgs: again } }));
    if (!second.ok) throw second.error;
    expect(second.result.drvPath).toBe(evaluation.result.drvPath);
    expect((await home.nix.realise([second.result.drvPath], { caches: [cache] })).paths).toEqual(paths);
    expect(await home.nix.validPaths([hello])).toEqual([hello]);
  });

  it('refuses a path that no trusted key has signed', async () => {
    const { nix } = freshNix();
    await expect(nix.realise([hello], { caches: [unsigned] })).rejects.toMatchObject({ code: 'UNSIGNED_PATH' });
    await expect(nix.copyFromCache(unsigned.url, [hello])).rejects.toMatchObject({ code: 'UNSIGNED_PATH' });
    expect(await nix.validPaths([hello])).toEqual([]);
    // A cache that the user made on purpose can be trusted as it is.
    await nix.copyFromCache(unsigned.url, [hello], { trust: 'all' });
    expect(await nix.validPaths([hello])).toEqual([hello]);
  });

  it('says that a cache lacks a path, and that one does not answer', async () => {
    const { nix } = freshNix();
    const absent = '/nix/store/00000000000000000000000000000000-absent';
    await expect(nix.copyFromCache(cache.url, [absent])).rejects.toMatchObject({ code: 'DOWNLOAD_GONE' });
    await expect(nix.copyFromCache('http://127.0.0.1:1', [hello])).rejects.toMatchObject({
      code: 'MIRROR_UNREACHABLE',
    });
  });

  it('refuses a tree that is not what the lock says', async () => {
    const locked = await sourceOf(freshNix()).lock({}, context);
    packTree('moved.tar.gz', '99.99');
    const moved: LockedSource = { ...locked, pin: { ...locked.pin, url: `${server.url}/moved.tar.gz` } };
    await expect(sourceOf(freshNix()).prepare(moved, context)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    await expect(sourceOf(freshNix()).prepare({ ...locked, pin: { url: 'x' } }, context)).rejects.toMatchObject({
      code: 'LOCK_INVALID',
    });
  });
});

describe('the packages', () => {
  it('are found by name and description, and by names nearly right', async () => {
    const home = freshNix();
    const source = sourceOf(home);
    const locked = await source.lock({}, context);
    const found = await source.search(locked, 'hello', 5, context);
    expect(found[0]).toEqual({
      name: 'hello',
      version: '2.12',
      description: 'A program for tests',
      source: 'nixpkgs 26.05 aaaaaaa',
    });
    expect(await source.search(locked, 'program tests', 50, context)).toHaveLength(5);
    expect(await source.nearest(locked, 'helo', context)).toEqual(['hello']);
    // The list is kept: it needs no Nix the next time.
    const kept = createNixpkgsSource({
      nix: { ...home.nix, listPackages: () => Promise.reject(new Error('listed anew')) },
      folder: join(home.root, 'lists'),
    });
    expect(await kept.search(locked, 'cowsay', 1, context)).toMatchObject([{ name: 'cowsay', version: '3.7' }]);
  });

  it('can be changed by overlays and configuration that the lock names', async () => {
    const home = freshNix();
    const source = sourceOf(home);
    const locked = await source.lock({}, context);
    const own: LockedSource = {
      ...locked,
      pin: { ...locked.pin, overlays: ['overlay.nix'], config: { allowUnfree: true } },
    };
    const directory = upstream.project({
      'config.nix': '{ pkgs, ... }: { packages = [ pkgs.mine pkgs.unfree ]; }',
      'overlay.nix': 'self: super: { mine = super.cowsay // { pname = "mine"; }; }',
    });
    const sources = { pkgs: await source.prepare(own, context) };
    const evaluation = await home.nix.evaluate(upstream.request(directory, { sources }));
    if (!evaluation.ok) throw evaluation.error;
    expect(evaluation.result.packages.map(({ name }) => name)).toEqual(['mine', 'unfree']);
    // An edit of the overlay is seen.
    expect(evaluation.trace.some((seen) => seen.kind === 'file' && seen.path.endsWith('/overlay.nix'))).toBe(true);
  });
});
