import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../core/digest.ts';
import { chainIds } from './chain-id.ts';
import { imageConfigOf } from './image-config.ts';
import { imageOf, multiPlatformImageOf } from './image.ts';
import { diskBlobs } from './blobs/disk-blobs.ts';
import { Compressor, frameSize } from './layer/compressor.ts';
import { diskLayerCache, layerKey, memoryLayerCache } from './layer/layer-cache.ts';
import { createLayerWriter } from './layer/layer-writer.ts';
import type { Layer } from './layer/layer.ts';
import type { Compression } from './media-types.ts';
import { manifestSchema, parseDocument, parseManifestOrIndex } from './model.ts';

const compressor = new Compressor(2);
afterAll(async () => compressor.close());

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-image-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const hash = 'abcdfghijklmnpqrsvwxyz0123456789';
const pathOf = (name: string) => `/nix/store/${hash}-${name}`;

function fillStore(name: string): string {
  const store = join(folder, name);
  for (const [path, bytes] of Object.entries({ a: 10, b: 2_000_000, c: 5_000_000 })) {
    mkdirSync(join(store, `${hash}-${path}`, 'share'), { recursive: true });
    writeFileSync(join(store, `${hash}-${path}`, 'share/data'), Buffer.from(`${path} says\n`.repeat(bytes / 8)));
  }
  return store;
}

const writerFor = (store: string, cache = memoryLayerCache(), home = store) =>
  createLayerWriter({ physicalStore: store, cache, compressor, blobs: diskBlobs(`${home}.blobs`) });

async function bytesOf(layer: Layer): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of layer.open()) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function unpacked(layer: Layer, compression: Compression): Promise<Buffer> {
  const bytes = await bytesOf(layer);
  if (compression === 'none') return bytes;
  return compression === 'gzip'
    ? gunzipSync(bytes)
    : execFileSync('zstd', ['-dc'], { input: bytes, maxBuffer: 2 ** 27 });
}

describe('layers', () => {
  test.each(['none', 'gzip', 'zstd'] as const)(
    'by %s: same digests from two stores, and digests that are true',
    async (compression) => {
      const paths = ['a', 'b', 'c'].map(pathOf);
      const one = await writerFor(fillStore('one')).storeLayer(paths, compression);
      const two = await writerFor(fillStore('two')).storeLayer([...paths].reverse(), compression);
      expect(two.descriptor).toEqual(one.descriptor);
      expect(two.diffId).toBe(one.diffId);
      const bytes = await bytesOf(one);
      expect(digestOf(bytes)).toBe(one.descriptor.digest);
      expect(bytes.length).toBe(one.descriptor.size);
      if (compression !== 'zstd' || existsSync('/usr/bin/zstd')) {
        const tar = await unpacked(one, compression);
        expect(digestOf(tar)).toBe(one.diffId);
        expect(tar.length).toBe(one.tarSize);
        expect(tar.length).toBeGreaterThan(frameSize);
      }
    },
  );

  test('keep their compressed bytes: a change needs a new layerWriterVersion', async () => {
    const tree = { data: { content: Array.from({ length: 5000 }, (_, index) => `line ${index ** 2}`).join('\n') } };
    const writer = writerFor(folder);
    expect((await writer.treeLayer(tree, 'gzip')).descriptor.digest).toBe(
      'sha256:1b2b66a61b646b0a824f3039dd86c83fdd77e607fd07263eb73b80e7450dd1ec',
    );
    expect((await writer.treeLayer(tree, 'zstd')).descriptor.digest).toBe(
      'sha256:01b90479ef6f5dfec960b26635f56c08136b16fa98b9af72a58f03dcf1d2fc53',
    );
  });

  test('are written and hashed once for ever: for other callers at the same time, and after a restart', async () => {
    const store = fillStore('store');
    const cache = () => diskLayerCache(join(folder, 'cache'));
    const first = writerFor(store, cache());
    const layers = await Promise.all([1, 2, 3].map(async () => first.storeLayer([pathOf('a'), pathOf('b')], 'gzip')));
    expect(new Set(layers.map((layer) => layer.diffId)).size).toBe(1);
    expect(first.written).toBe(1);
    const second = writerFor(store, cache());
    const again = await second.storeLayer([pathOf('b'), pathOf('a')], 'gzip');
    expect(second.written).toBe(0);
    expect(again.descriptor).toEqual(layers[0]?.descriptor);
    expect(digestOf(await bytesOf(again))).toBe(again.descriptor.digest);
  });

  test('come from the store again when their blob is gone, and a half record counts as none', async () => {
    const store = fillStore('store');
    const cache = diskLayerCache(join(folder, 'cache'));
    const layer = await writerFor(store, cache).storeLayer([pathOf('b')], 'zstd');
    rmSync(`${store}.blobs`, { recursive: true });
    expect(digestOf(await bytesOf(layer))).toBe(layer.descriptor.digest);
    writeFileSync(join(folder, 'cache', readdirSync(join(folder, 'cache'))[0]!), '{"descr');
    const writer = writerFor(store, cache);
    expect((await writer.storeLayer([pathOf('b')], 'zstd')).diffId).toBe(layer.diffId);
    expect(writer.written).toBe(1);
  });

  test('name a path that changed after it was hashed', async () => {
    const store = fillStore('store');
    const layer = await writerFor(store).storeLayer([pathOf('a')], 'none');
    writeFileSync(join(store, `${hash}-a/share/data`), Buffer.alloc(4096));
    await expect(bytesOf(layer)).rejects.toMatchObject({ code: 'LAYER_UNREADABLE' });
  });

  test('stop when cancelled and leave no half blob', async () => {
    const store = fillStore('store');
    const controller = new AbortController();
    const work = writerFor(store).storeLayer(['a', 'b', 'c'].map(pathOf), 'gzip', controller.signal);
    setTimeout(() => controller.abort(), 5);
    await expect(work).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const left = existsSync(`${store}.blobs`) ? readdirSync(`${store}.blobs/blobs/sha256`) : [];
    expect(left).toEqual([]);
  });

  test('have a key that no order of paths changes, and that compression does', () => {
    expect(layerKey(['/b', '/a'], 'none')).toBe(layerKey(['/a', '/b'], 'none'));
    expect(layerKey(['/a', '/b'], 'gzip')).not.toBe(layerKey(['/a', '/b'], 'none'));
  });
});

test('ChainIDs are those of the specification', () => {
  const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [
    ReturnType<typeof digestOf>,
    ReturnType<typeof digestOf>,
    ReturnType<typeof digestOf>,
  ];
  const ab = digestOf(`${a} ${b}`);
  expect(chainIds([a, b, c])).toEqual([a, ab, digestOf(`${ab} ${c}`)]);
  expect(chainIds([])).toEqual([]);
});

test("an image's config says what the environment says, and nothing of when or where it was made", () => {
  const config = imageConfigOf(
    {
      architecture: 'amd64',
      env: { PATH: '/bin', A: 'x=y' },
      command: ['sh', '-c', 'true'],
      workingDirectory: '/work',
      ports: [8080, 80, 8080],
      labels: { k: 'v' },
    },
    [digestOf('a')],
  );
  expect(config.config).toEqual({
    Env: ['A=x=y', 'PATH=/bin'],
    Cmd: ['sh', '-c', 'true'],
    WorkingDir: '/work',
    ExposedPorts: { '80/tcp': {}, '8080/tcp': {} },
    Labels: { k: 'v' },
  });
  expect(config.history).toHaveLength(config.rootfs.diff_ids.length);
});

test('an image has one digest for one content, and several platforms one index in one order', async () => {
  const writer = writerFor(fillStore('store'));
  const layers = await Promise.all(['a', 'b'].map(async (name) => writer.storeLayer([pathOf(name)], 'none')));
  const image = (architecture: string, env: Record<string, string>) => imageOf(layers, { architecture, env });
  const one = image('amd64', { A: '1', B: '2' });
  expect(image('amd64', { B: '2', A: '1' }).manifest.descriptor).toEqual(one.manifest.descriptor);
  expect(image('amd64', { A: '1' }).manifest.descriptor).not.toEqual(one.manifest.descriptor);
  expect(imageOf([...layers].reverse(), { architecture: 'amd64' }).chainIds).not.toContain(one.chainIds[1]);
  const manifest = parseDocument(manifestSchema, one.manifest.bytes, 'the manifest');
  expect(manifest.layers.map(({ digest }) => digest)).toEqual(layers.map((layer) => layer.descriptor.digest));
  const arm = image('arm64', {});
  const both = multiPlatformImageOf([arm, one]);
  expect(both.index.descriptor).toEqual(multiPlatformImageOf([one, arm]).index.descriptor);
  const read = parseManifestOrIndex(both.index.bytes, 'the index');
  expect('index' in read && read.index.manifests.map(({ platform }) => platform?.architecture)).toEqual([
    'amd64',
    'arm64',
  ]);
});

test('documents from outside are refused with the place that is wrong', () => {
  const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
  expect(() => parseDocument(manifestSchema, Buffer.from('{'), 'the manifest of x')).toThrow(
    'The manifest of x is not JSON.',
  );
  const descriptor = { mediaType: 'm', digest: digestOf(''), size: 1 };
  expect(() =>
    parseManifestOrIndex(
      bytes({ schemaVersion: 2, config: descriptor, layers: [{ ...descriptor, digest: 'md5:0' }] }),
      'it',
    ),
  ).toThrow(/`layers.0.digest`/);
  expect(() => parseManifestOrIndex(bytes({ schemaVersion: 1, config: descriptor, layers: [] }), 'it')).toThrow(
    /schemaVersion/,
  );
});
