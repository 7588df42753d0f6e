/** The store's binary cache, with a real Nix as its client. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventBus } from '../../src/core/events.ts';
import { startDaemon, type Daemon } from '../../src/daemon/daemon.ts';
import { compose } from '../../src/daemon/compose.ts';
import { readSettings } from '../../src/daemon/settings.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import { physicalStoreDirectory } from '../../src/nix/store.ts';
import { narOf } from '../../src/registry/nix-cache/nar.ts';
import { makeNixFixture, removeStore, writeFiles, type NixFixture } from '../support/nixpkgs-fixture.ts';

const sandboxShell = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
const token = 'secret-of-the-test';
let fixture: NixFixture;
let root: string;
let daemon: Daemon;
let url: string;
let publicKey: string;
let path: string;
let closure: readonly string[];

/** A Nix on another host: an empty store, its own settings, the token in a netrc file. */
function anotherHost(name: string, trustedPublicKeys: readonly string[]): Nix {
  return createNix({
    store: { kind: 'managed', root: join(root, name) },
    nixFolder: join(import.meta.dirname, '../../nix'),
    home: join(root, `${name}-home`),
    settings: { substituters: [], trustedPublicKeys, netrcFile: join(root, 'netrc'), sandboxShell },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
}

function settingsOf(compression: 'zstd' | 'none', upload: boolean) {
  return readSettings({
    env: {
      PATH: process.env['PATH'],
      HOME: root,
      BERTH_HOME: join(root, `home-${compression}`),
      BERTH_SOCKET_DIRECTORY: join(root, `run-${compression}`),
      BERTH_STORE_ROOT: fixture.nix.store.root,
      BERTH_LISTEN: '127.0.0.1:0',
      BERTH_TOKEN: token,
      BERTH_NIX_CACHE_COMPRESSION: compression,
      BERTH_NIX_CACHE_UPLOAD: String(upload),
    },
  });
}

const ask = (where: string, init: RequestInit = {}) =>
  fetch(`${url}/${where}`, { ...init, headers: { authorization: `Bearer ${token}` } });

beforeAll(async () => {
  fixture = await makeNixFixture();
  root = mkdtempSync(join(tmpdir(), 'berth-nix-cache-'));
  writeFileSync(join(root, 'netrc'), `machine 127.0.0.1 login berth password ${token}\n`, { mode: 0o600 });
  const project = fixture.project({ 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.hello ]; }' });
  const evaluation = await fixture.nix.evaluate(fixture.request(project));
  if (!evaluation.ok) throw evaluation.error;
  path = (await fixture.nix.realise([evaluation.result.drvPath])).paths[0] ?? '';
  closure = (await fixture.nix.closureOf([path])).paths;

  daemon = await startDaemon({ settings: settingsOf('zstd', true), managed: false });
  url = `${daemon.addresses.find((address) => address.startsWith('http')) ?? ''}/nix-cache`;
  publicKey = (await (await ask('public-key')).text()).trim();
});

afterAll(async () => {
  daemon.stop('the test is over', 0);
  await daemon.ended;
  await fixture.close();
  removeStore(root);
});

describe('a NAR', () => {
  it('is what `nix-store --dump` writes, byte for byte', async () => {
    const folder = join(root, 'tree');
    writeFiles(folder, {
      'a/empty': '',
      'a/deep/er/file': 'x'.repeat(7),
      'a.b': 'sorts after the folder a by bytes',
      'a-b': 'sorts before a.b',
      'ä ö': 'not ASCII',
      big: 'b'.repeat(3 * 1024 * 1024 + 5),
      run: '#!/bin/sh\n',
    });
    execFileSync('chmod', ['+x', join(folder, 'run')]);
    execFileSync('sh', ['-c', 'mkdir empty-folder && ln -s ../a/b link && ln -s big a/z'], { cwd: folder });
    const added = await fixture.nix.addToStore(folder, 'tree');
    const single = await fixture.nix.addToStore(join(folder, 'run'), 'run');
    const link = execFileSync('nix-store', ['--store', fixture.nix.store.root, '--add', join(folder, 'link')], {
      encoding: 'utf8',
    }).trim();
    for (const one of [added, single, link, ...closure]) {
      const hash = createHash('sha256');
      for await (const piece of narOf(physicalStoreDirectory(fixture.nix.store), one)) hash.update(piece);
      const dumped = execFileSync('nix-store', ['--dump', join(fixture.nix.store.root, one)], {
        maxBuffer: 64 * 1024 * 1024,
      });
      expect(hash.digest('hex'), one).toBe(createHash('sha256').update(dumped).digest('hex'));
    }
  });
});

describe('another host', () => {
  it('copies a closure whose signature it trusts', async () => {
    const nix = anotherHost('trusting', [publicKey]);
    await nix.copyFromCache(url, [path]);
    expect((await nix.closureOf([path])).paths).toEqual(closure);
    expect(await nix.narHashOf(path)).toBe(await fixture.nix.narHashOf(path));
    await nix.close();
  });

  it('gets it unpacked as well', async () => {
    const other = await startDaemon({ settings: settingsOf('none', false), managed: false });
    const address = `${other.addresses.find((one) => one.startsWith('http')) ?? ''}/nix-cache`;
    const nix = anotherHost('unpacked', []);
    await nix.copyFromCache(address, [path], { trust: 'all' });
    expect((await nix.closureOf([path])).paths).toEqual(closure);
    await expect(nix.copyToCache(address, [await addSomething(nix, 'refused')])).rejects.toThrow(/upload/);
    await nix.close();
    other.stop('the test is over', 0);
    await other.ended;
  });

  it('refuses it when it does not know the key', async () => {
    const nix = anotherHost('strange', []);
    await expect(nix.copyFromCache(url, [path])).rejects.toMatchObject({ code: 'UNSIGNED_PATH' });
    await nix.close();
  });

  it('gets nothing without the token', async () => {
    expect((await fetch(`${url}/nix-cache-info`)).status).toBe(401);
    const basic = Buffer.from(`anyone:${token}`).toString('base64');
    const answer = await fetch(`${url}/nix-cache-info`, { headers: { authorization: `Basic ${basic}` } });
    expect(await answer.text()).toContain('StoreDir: /nix/store\n');
  });

  it('uploads paths with what they need, once', async () => {
    const nix = anotherHost('uploading', []);
    const dependency = await addSomething(nix, 'needed');
    const file = join(root, 'needs.nix');
    writeFileSync(
      file,
      `derivation { name = "needs"; system = "x86_64-linux"; builder = "/bin/sh";
         args = [ "-c" "echo \${builtins.storePath ${dependency}} > $out" ]; }`,
    );
    const drv = (await nix.process.require('nix-instantiate', [file])).trim();
    const needing = (await nix.realise([drv])).paths[0] ?? '';
    await nix.copyToCache(url, [needing]);
    expect((await fixture.nix.closureOf([needing])).paths).toEqual([dependency, needing].sort());
    expect(await fixture.nix.narHashOf(needing)).toBe(await nix.narHashOf(needing));
    await nix.copyToCache(url, [needing]);
    const waiting = join(root, 'home-zstd/nix/uploads/nar');
    expect(existsSync(waiting) ? readdirSync(waiting) : []).toEqual([]);
    await nix.close();
  });
});

async function addSomething(nix: Nix, text: string): Promise<string> {
  const file = join(root, `${text}.txt`);
  writeFileSync(file, text);
  return nix.addToStore(file);
}

describe('a bad upload', () => {
  const hashPart = '0123456789abcdfghijklmnpqrsvwxyz';
  const narinfo = (lines: readonly string[]) => ({ method: 'PUT', body: `${lines.join('\n')}\n` });
  const good = [
    `StorePath: /nix/store/${hashPart}-bad`,
    'URL: nar/bad.nar',
    'Compression: none',
    `NarHash: sha256:${'0'.repeat(52)}`,
    'NarSize: 112',
  ];

  it.each([
    ['no store path', [], /names no store path/],
    ['another path', [`StorePath: /nix/store/${'1'.repeat(32)}-bad`], /was sent as/],
    ['a NAR elsewhere', [...good.slice(0, 1), 'URL: ../../etc/passwd'], /URL of the form/],
    ['a reference that is missing', [...good, `References: ${'2'.repeat(32)}-gone`], /is not here yet/],
    ['no NAR', good, /was not uploaded/],
  ])('is refused: %s', async (_name, lines, message) => {
    const answer = await ask(`${hashPart}.narinfo`, narinfo(lines));
    expect(answer.status).toBe(400);
    expect(await answer.text()).toMatch(message);
  });

  it('is refused when the NAR is not what its hash says, and leaves nothing', async () => {
    const nar: Uint8Array[] = [];
    const added = await addSomething(fixture.nix, 'another-content');
    for await (const piece of narOf(physicalStoreDirectory(fixture.nix.store), added)) nar.push(piece);
    expect((await ask('nar/bad.nar', { method: 'PUT', body: Buffer.concat(nar) })).status).toBe(201);
    const answer = await ask(`${hashPart}.narinfo`, narinfo(good));
    expect(answer.ok).toBe(false);
    expect(await fixture.nix.validPaths([`/nix/store/${hashPart}-bad`])).toEqual([]);
    expect(readdirSync(join(root, 'home-zstd/nix/uploads')).filter((name) => name.endsWith('.narinfo'))).toEqual([]);
  });
});

it('answers 404 for what it does not have, HEAD as GET, and 405 for the rest', async () => {
  expect((await ask(`${'0'.repeat(32)}.narinfo`)).status).toBe(404);
  expect((await ask('nar/no.nar')).status).toBe(404);
  const [name = ''] = /[0-9a-z]{32}/.exec(path) ?? [];
  const head = await ask(`${name}.narinfo`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
  expect((await ask(`${name}.narinfo`, { method: 'DELETE' })).status).toBe(405);
});

it('takes the same key again after a restart', async () => {
  const { protocols, close } = await compose(settingsOf('zstd', true), new EventBus());
  const answer = await protocols['/nix-cache']?.fetch(new Request('http://localhost/nix-cache/public-key'));
  expect((await answer?.text())?.trim()).toBe(publicKey);
  await close();
  rmSync(join(root, 'home-zstd/nix/cache-key.sec'));
});
