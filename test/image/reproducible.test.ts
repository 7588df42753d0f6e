/** The same config gives the same image, on two stores that know nothing of each other, and for two architectures. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import { digestOf } from '../../src/core/digest.ts';
import { readElf } from '../../src/engine/minimal-image/elf.ts';
import type { BuildImageRequest } from '../../src/environment/images.ts';
import { debianArm64Lock, debianLock, debianNix, debianStore } from '../support/debian-root.ts';
import { createFlow, type Flow } from '../support/flow.ts';

const config = '{ pkgs, ... }: { packages = [ pkgs.jq pkgs.file ]; env.GREETING = "hello"; }\n';
const folder = mkdtempSync(join(tmpdir(), 'berth-two-stores-'));
let shared: Flow;
let own: Flow;
let lock: string;

beforeAll(async () => {
  shared = await createFlow();
  // A store with the packages as Debian publishes them, and nothing that was made of them.
  own = await createFlow({ storeRoot: join(folder, 'store') });
  lock = formatLock({
    sources: { pkgs: await debianLock('bookworm') },
    platforms: { 'aarch64-linux': { pkgs: await debianArm64Lock('bookworm') } },
  });
});
afterAll(async () => {
  await shared.close();
  await own.close();
  execFileSync('chmod', ['-R', 'u+w', folder]);
  rmSync(folder, { recursive: true, force: true });
});

async function build(flow: Flow, text: string, request: Partial<BuildImageRequest>) {
  const project = await flow.project({ 'config.nix': text, 'berth.lock': lock });
  return flow.images.build({ path: project, ...request }, flow.context('build'));
}

/** What is fetched rather than built: the locked indexes, the bootstraps and the .deb files that a closure is made of. */
async function copyFetched(platforms: readonly string[]): Promise<void> {
  const project = await shared.project({ 'config.nix': config, 'berth.lock': lock });
  const paths = new Set<string>();
  for (const source of [await debianLock('bookworm'), await debianArm64Lock('bookworm')]) {
    const { index, bootstrap } = source.pin as unknown as Record<'index' | 'bootstrap', { path: string }>;
    paths.add(index.path).add(bootstrap.path);
  }
  for (const system of platforms) {
    const { environment } = await shared.service.environment({ path: project, system }, shared.context('fetched'));
    const [deriver = ''] = (
      await debianNix.require('nix-store', ['--query', '--deriver', environment.storePath])
    ).split('\n');
    const all = (await debianNix.require('nix-store', ['--query', '--requisites', '--include-outputs', deriver])).split(
      '\n',
    );
    for (const path of all) if (path.endsWith('.deb')) paths.add(path);
  }
  const present = [...paths].filter((path) => existsSync(join(debianStore.root, path)));
  execFileSync(
    'nix',
    [
      ...['--extra-experimental-features', 'nix-command', 'copy', '--no-check-sigs'],
      ...['--from', debianStore.root, '--to', join(folder, 'store'), ...present],
    ],
    { stdio: 'pipe' },
  );
}

test('on two stores, for any order of packages, whatever the text; and nothing is made twice', async () => {
  const systems = ['x86_64-linux', 'aarch64-linux'];
  await copyFetched(systems);
  const first = await build(shared, config, { compression: 'gzip' });
  const reordered = '# text\n{ pkgs, ... }:\n{ env.GREETING = "hello"; packages = with pkgs; [ file jq ]; }\n';
  const again = await build(shared, reordered, { compression: 'gzip' });
  expect(again).toMatchObject({ imageDigest: first.imageDigest, cache: { environment: 'miss', image: 'hit' } });
  expect(again.configDigest).not.toBe(first.configDigest);

  const elsewhere = await build(own, reordered, { compression: 'gzip' });
  expect(elsewhere).toMatchObject({ imageDigest: first.imageDigest, cache: { build: 'miss', image: 'miss' } });

  // Other settings are another image; of the same layers where those are the same.
  const plain = await build(own, config, { compression: 'none' });
  expect(plain.imageDigest).not.toBe(first.imageDigest);
  const greeting = await build(own, config.replace('hello', 'hi'), { compression: 'none' });
  expect(greeting.imageDigest).not.toBe(plain.imageDigest);
}, 300_000);

test('for two architectures under one index, each with its own programs', async () => {
  const platforms = ['linux/amd64', 'linux/arm64'];
  const archive = join(folder, 'both.tar');
  const both = await build(shared, config, { platforms, to: [`oci-archive:${archive}`], tag: 'both:1' });
  expect(both.platforms.map(({ platform }) => platform)).toEqual(platforms);
  const elsewhere = await build(own, config, { platforms });
  expect(elsewhere.imageDigest).toBe(both.imageDigest);

  const copy = join(folder, 'copy');
  execFileSync('skopeo', [
    '--insecure-policy',
    'copy',
    '--all',
    '-q',
    '--preserve-digests',
    `oci-archive:${archive}:both:1`,
    `oci:${copy}:both`,
  ]);
  const { manifests } = JSON.parse(readFileSync(join(copy, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  expect(manifests.map(({ digest }) => digest)).toEqual([both.imageDigest]);

  for (const [architecture, machine] of [
    ['amd64', 'x64'],
    ['arm64', 'arm64'],
  ] as const) {
    const one = join(folder, architecture);
    execFileSync('skopeo', [
      ...['--insecure-policy', '--override-arch', architecture, 'copy', '-q', '--dest-decompress'],
      ...[`oci:${copy}:both`, `dir:${one}`],
    ]);
    const root = join(folder, `${architecture}-root`);
    execFileSync('mkdir', ['-p', root]);
    const { layers } = JSON.parse(readFileSync(join(one, 'manifest.json'), 'utf8')) as { layers: { digest: string }[] };
    for (const { digest } of layers) {
      execFileSync('tar', ['-x', '-C', root, '-f', join(one, digest.slice('sha256:'.length))]);
    }
    const machines = new Set<string>();
    for (const name of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const elf = readElf(readFileSync(join(name.parentPath, name.name)));
      if (elf) machines.add(elf.machine);
    }
    expect([...machines], architecture).toEqual([machine]);
    const jq = readdirSync(join(root, 'nix/store')).find((name) => /-jq-/.test(name)) ?? '';
    expect(existsSync(join(root, 'nix/store', jq, 'usr/bin/jq'))).toBe(true);
    execFileSync('chmod', ['-R', 'u+w', root]);
  }
}, 300_000);

test('keeps an image whose store paths are gone, since its blobs are there', async () => {
  const archive = join(folder, 'before.tar');
  const again = join(folder, 'after.tar');
  const before = await build(own, config, { compression: 'gzip', to: [`oci-archive:${archive}`], tag: 'kept:1' });
  // The layer is read from its blob: the store path may not be touched.
  const path =
    readdirSync(join(folder, 'store/nix/store')).find(
      (name) => /-jq-1/.test(name) && !name.endsWith('.deb') && !name.endsWith('.drv'),
    ) ?? '';
  const place = join(folder, 'store/nix/store', path);
  execFileSync('mv', [place, `${folder}/away`]);
  const after = await build(own, config, { compression: 'gzip', to: [`oci-archive:${again}`], tag: 'kept:1' });
  execFileSync('mv', [`${folder}/away`, place]);
  expect(after).toMatchObject({ imageDigest: before.imageDigest, cache: { image: 'hit' } });
  expect(digestOf(readFileSync(again))).toBe(digestOf(readFileSync(archive)));
});

test('refuses what can’t be before it makes anything', async () => {
  const project = await shared.project({ 'config.nix': 'this is no Nix' });
  const refused = (request: Partial<BuildImageRequest>) =>
    expect(shared.images.build({ path: project, ...request }, shared.context('refused'))).rejects;
  await refused({ to: ['floppy'] }).toMatchObject({ code: 'REQUEST_INVALID' });
  await refused({ platforms: ['linux/mips'] }).toMatchObject({ code: 'REQUEST_INVALID' });
  await refused({ platforms: ['linux/amd64', 'linux/arm64'], to: ['docker-archive:/tmp/x'] }).toMatchObject({
    code: 'REQUEST_INVALID',
  });
  await refused({ to: ['registry:UPPER/Case'] }).toMatchObject({ code: 'REFERENCE_INVALID' });
});

test('leaves no half of a file where it can’t be written', async () => {
  writeFileSync(join(folder, 'a-file'), '');
  await expect(build(shared, config, { to: [`oci-archive:${join(folder, 'a-file/below')}`] })).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
  });
  expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
});
