/** Unpacked layers on a real file system: what a layer can hold, what goes wrong, and what is kept. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silent } from '../../src/core/events.ts';
import { type ImageStore, imageStore } from '../../src/engine/embedded/images/image-store.ts';
import { layerName } from '../../src/engine/embedded/images/layer-store.ts';
import { imageForTests, layerOfTar, layerOfTree } from '../../src/engine/image-for-tests.ts';
import type { Layer } from '../../src/oci/layer/layer.ts';
import { memberHeaders, type MemberType, type TarMember } from '../../src/oci/tar/tar-member.ts';

const isRoot = process.getuid?.() === 0;
let directory: string;
let store: ImageStore;

const open = () =>
  imageStore({ directory: join(directory, 'images'), berths: join(directory, 'berths'), asRoot: isRoot });
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-layers-'));
  store = open();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const load = (layers: readonly Layer[]) => store.load(imageForTests(layers), { emit: silent });
const digestOfImage = (layers: readonly Layer[]) => imageForTests(layers).manifest.descriptor.digest;
const layersThere = () => readdirSync(join(directory, 'images/layers'));
const inLayer = (layer: Layer, path: string) => join(directory, 'images/layers', layerName(layer.diffId), 'fs', path);

function member(path: string, type: MemberType, more: Partial<TarMember> = {}): TarMember {
  return {
    ...{ type, path: Buffer.from(path), target: Buffer.alloc(0), mode: 0o755, uid: 0, gid: 0, mtime: 1, size: 0 },
    ...{ device: { major: 0, minor: 0 }, xattrs: new Map() },
    ...more,
  };
}
const layerOf = (...members: TarMember[]) =>
  layerOfTar(Buffer.concat([...members.map(memberHeaders), Buffer.alloc(1024)]));
const xattrs = (path: string) =>
  execFileSync('tar', ['-c', '--xattrs', '--xattrs-include=*', '--no-recursion', '-P', path]).toString('latin1');

describe.skipIf(!isRoot)('a layer', () => {
  it('keeps modes, owners, times, hard links, capabilities and names that are no text, and no devices', async () => {
    const capability = Buffer.from([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const name = Buffer.from([0x62, 0xff, 0x63]);
    const layer = layerOf(
      member('d', 'directory', { mode: 0o2770, uid: 12, gid: 34, mtime: 77 }),
      member('d/su', 'file', { mode: 0o4711, uid: 5, mtime: 99 }),
      member('d/ping', 'file', { xattrs: new Map([['security.capability', capability]]) }),
      member('d/hard', 'link', { target: Buffer.from('./d/su') }),
      member('soft', 'symlink', { target: Buffer.from('/etc/passwd') }),
      member('null', 'character', { mode: 0o666, device: { major: 1, minor: 3 } }),
      member('pipe', 'fifo'),
      member('', 'file', { path: name }),
    );
    await load([layer]);
    const folder = statSync(inLayer(layer, 'd'));
    expect([folder.mode & 0o7777, folder.uid, folder.gid, folder.mtimeMs]).toEqual([0o2770, 12, 34, 77_000]);
    const su = statSync(inLayer(layer, 'd/su'));
    expect([su.mode & 0o7777, su.uid, su.mtimeMs, su.nlink]).toEqual([0o4711, 5, 99_000, 2]);
    expect(statSync(inLayer(layer, 'd/hard')).ino).toBe(su.ino);
    expect(xattrs(inLayer(layer, 'd/ping'))).toContain(`security.capability=${capability.toString('latin1')}`);
    expect(lstatSync(inLayer(layer, 'soft')).isSymbolicLink()).toBe(true);
    expect(existsSync(inLayer(layer, 'null'))).toBe(false);
    expect(readdirSync(inLayer(layer, ''), 'buffer').some((found) => found.equals(name))).toBe(true);
    // What root made for anybody is behind a folder that is root's only.
    expect(statSync(join(directory, 'images/layers')).mode & 0o777).toBe(0o700);
  });

  it('takes away what it says, and not what it has itself', async () => {
    const layer = await layerOfTree({
      ...{ '.wh.gone': { content: '' }, '.wh.kept': { content: '' }, kept: { content: 'own' } },
      ...{ '.wh.folder': { content: '' }, 'folder/a': { content: '' }, 'new/.wh..wh..opq': { content: '' } },
    });
    await load([layer]);
    expect(lstatSync(inLayer(layer, 'gone')).isCharacterDevice()).toBe(true);
    expect(readFileSync(inLayer(layer, 'kept'), 'utf8')).toBe('own');
    for (const name of ['folder', 'new']) expect(xattrs(inLayer(layer, name))).toContain('trusted.overlay.opaque=y');
    expect(readdirSync(inLayer(layer, '')).sort()).toEqual(['folder', 'gone', 'kept', 'new']);
  });

  it('is never written outside its folder', async () => {
    const outside = join(directory, 'outside');
    mkdirSync(outside);
    const attacks = [
      [member('l', 'symlink', { target: Buffer.from(outside) }), member('l/x', 'file')],
      [member('../../../../outside/x', 'file')],
      [member('h', 'link', { target: Buffer.from('/etc/passwd') })],
    ];
    for (const attack of attacks)
      await expect(load([layerOf(...attack)])).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    const inside = layerOf(member(`${outside}/x`, 'file'));
    await load([inside]);
    expect(existsSync(inLayer(inside, `${outside}/x`))).toBe(true);
    expect(readdirSync(outside)).toEqual([]);
  });

  it('is made of the files of the store where it holds store paths', async () => {
    const physicalStore = join(directory, 'store/nix/store');
    mkdirSync(join(physicalStore, 'x-tool/bin'), { recursive: true });
    writeFileSync(join(physicalStore, 'x-tool/bin/tool'), 'tool', { mode: 0o555 });
    const layer = {
      ...(await layerOfTree({ 'nix/store/x-tool/bin/tool': { content: 'tool', mode: 0o555 } })),
      fromStore: { physicalStore, paths: ['/nix/store/x-tool'] },
    };
    expect(await load([layer])).toMatchObject({ movedLayers: 1 });
    expect(statSync(inLayer(layer, 'nix/store/x-tool/bin/tool')).ino).toBe(
      statSync(join(physicalStore, 'x-tool/bin/tool')).ino,
    );
    expect(layer.opened).toBe(0);
    expect(store.usage()).toMatchObject([{ totalBytes: layer.tarSize, storeBytes: layer.tarSize }]);
    // Without the store's files it is unpacked from its bytes.
    await store.remove(digestOfImage([layer]));
    rmSync(physicalStore, { recursive: true });
    await load([layer]);
    expect(readFileSync(inLayer(layer, 'nix/store/x-tool/bin/tool'), 'utf8')).toBe('tool');
  });
});

describe('images', () => {
  it('share layers, and leave none when the last goes', async () => {
    const [base, one, two] = await Promise.all(
      ['base', 'one', 'two'].map((name) => layerOfTree({ [name]: { content: name } }, 'gzip')),
    );
    if (!base || !one || !two) throw new TypeError('no layers');
    // At the same time, and in another order: what is under a layer does not matter.
    await Promise.all([load([base, one]), load([two, base])]);
    expect(base.opened).toBe(1);
    const bytes = base.tarSize ?? 0;
    const part = { layers: 2, totalBytes: 2 * bytes, sharedBytes: bytes, uniqueBytes: bytes };
    expect(store.usage()).toMatchObject([part, part]);
    await store.remove(digestOfImage([base, one]));
    expect(layersThere().sort()).toEqual([base, two].map((layer) => layerName(layer.diffId)).sort());
    // A berth holds what it is made from.
    store.attach(digestOfImage([two, base]), join(directory, 'berths/b'));
    await store.remove(digestOfImage([two, base]));
    expect(layersThere()).toHaveLength(2);
    expect(store.all()).toEqual([]);
    rmSync(join(directory, 'berths/b'), { recursive: true });
    await store.sweep();
    expect(layersThere()).toEqual([]);
  });

  it('leave nothing of a layer that is damaged, and nothing of the others that came with it', async () => {
    const good = await layerOfTree({ good: { content: 'x' } });
    const damaged = { ...(await layerOfTree({ bad: { content: 'x' } }, 'gzip')), diffId: good.diffId };
    for (const bad of [
      { ...good, descriptor: { ...good.descriptor, digest: damaged.descriptor.digest } },
      damaged,
      layerOfTar(Buffer.alloc(2048, 'x')),
      { ...good, descriptor: { ...good.descriptor, mediaType: 'application/x-other' } },
      { ...good, descriptor: { ...good.descriptor, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' } },
    ]) {
      const other = await layerOfTree({ other: { content: 'y' } });
      await expect(load([other, bad])).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
      expect(layersThere()).toEqual([]);
      expect(store.all()).toEqual([]);
    }
  });

  it('are unpacked from zstd', async () => {
    const { Zstd } = await import('@hpcc-js/wasm-zstd');
    const zstd = await Zstd.load();
    const plain = await layerOfTree({ text: { content: 'berth '.repeat(100_000) } });
    const tar: Uint8Array[] = [];
    for await (const piece of plain.open()) tar.push(piece);
    const { digestOf } = await import('../../src/core/digest.ts');
    // Two frames, as Berth writes them.
    const whole = Buffer.concat(tar);
    const blob = Buffer.concat(
      [whole.subarray(0, 100_000), whole.subarray(100_000)].map((part) => zstd.compress(part)),
    );
    const layer: Layer = {
      ...{ diffId: plain.diffId, tarSize: plain.tarSize },
      descriptor: {
        ...{ mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd', digest: digestOf(blob), size: blob.length },
      },
      async *open() {
        await Promise.resolve();
        yield blob;
      },
    };
    await load([layer]);
    expect(readFileSync(inLayer(layer, 'text'), 'utf8')).toHaveLength(600_000);
  });

  it('count for nothing when Berth is killed while it unpacks, and are swept at the next load', async () => {
    const bundle = join(directory, 'driver.mjs');
    const source = join(import.meta.dirname, 'unpack-driver.ts');
    execFileSync(
      join(import.meta.dirname, '../../node_modules/.bin/esbuild'),
      [...[source, '--bundle', '--platform=node', '--format=esm', `--outfile=${bundle}`, '--external:fzstd']],
      { stdio: 'pipe' },
    );
    const child = spawn(process.execPath, [bundle, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [half] = layersThere();
    expect(half).toMatch(/^new\./);
    expect(store.all()).toEqual([]);
    const layer = await layerOfTree({ a: { content: 'a' } });
    await load([layer]);
    expect(layersThere()).toEqual([layerName(layer.diffId)]);
  });
});
