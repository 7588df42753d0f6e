/** Images as files, read by programs that Berth has no part in: skopeo. */
import { execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/digest.ts';
import { type Image, imageOf, multiPlatformImageOf } from '../../src/oci/image.ts';
import { diskBlobs } from '../../src/oci/blobs/disk-blobs.ts';
import { Compressor } from '../../src/oci/layer/compressor.ts';
import { memoryLayerCache } from '../../src/oci/layer/layer-cache.ts';
import { createLayerWriter } from '../../src/oci/layer/layer-writer.ts';
import type { Compression } from '../../src/oci/media-types.ts';
import { dockerArchive } from '../../src/oci/targets/docker-archive.ts';
import { ociArchive, writeOciLayout } from '../../src/oci/targets/oci-layout.ts';

const hash = 'abcdfghijklmnpqrsvwxyz0123456789';
const compressor = new Compressor(2);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-oci-'));
  for (const name of ['one', 'two']) {
    const path = join(folder, 'store', `${hash}-${name}`);
    mkdirSync(join(path, `deep/${'long-name-'.repeat(12)}`), { recursive: true });
    writeFileSync(join(path, `deep/${'long-name-'.repeat(12)}/file`), name);
    writeFileSync(join(path, 'data'), Buffer.from(`${name}\n`.repeat(1_500_000)));
    symlinkSync('data', join(path, 'link'));
  }
});
afterAll(async () => {
  await compressor.close();
  rmSync(folder, { recursive: true });
});

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', '--tmpdir', folder, ...args], { encoding: 'utf8' });

async function makeImage(compression: Compression, architecture = 'amd64'): Promise<Image> {
  const writer = createLayerWriter({
    physicalStore: join(folder, 'store'),
    cache: memoryLayerCache(),
    compressor,
    blobs: diskBlobs(join(folder, 'kept')),
  });
  const layers = [
    await writer.storeLayer([`/nix/store/${hash}-one`], compression),
    await writer.storeLayer([`/nix/store/${hash}-two`], compression),
    await writer.treeLayer({ 'etc/passwd': { content: 'root:x:0:0::/:/bin/sh\n' } }, compression),
  ];
  return imageOf(layers, {
    architecture,
    env: { PATH: '/bin', GREETING: 'hello world' },
    command: ['/bin/true'],
    workingDirectory: '/work',
    labels: { 'berth.config-digest': digestOf('config') },
  });
}

async function save(bytes: AsyncIterable<Uint8Array>, name: string): Promise<string> {
  const file = join(folder, name);
  await pipeline(Readable.from(bytes), createWriteStream(file));
  return file;
}

interface Inspected {
  readonly Digest: string;
  readonly Layers: string[];
  readonly Env: string[];
  readonly Labels: Record<string, string>;
}

describe.each(['none', 'gzip', 'zstd'] as const)('with layers packed by %s, skopeo', (compression) => {
  test('reads and copies an oci-archive, and every digest is true', async () => {
    const image = await makeImage(compression);
    const file = await save(ociArchive(image, { tag: 'app' }), `${compression}.oci.tar`);
    const seen = JSON.parse(skopeo('inspect', `oci-archive:${file}:app`)) as Inspected;
    expect(seen.Digest).toBe(image.manifest.descriptor.digest);
    expect(seen.Layers).toEqual(image.layers.map((layer) => layer.descriptor.digest));
    expect(seen.Env).toEqual(['GREETING=hello world', 'PATH=/bin']);
    expect(seen.Labels).toEqual({ 'berth.config-digest': digestOf('config') });

    const copy = join(folder, `${compression}.dir`);
    skopeo('copy', '-q', '--preserve-digests', `oci-archive:${file}:app`, `dir:${copy}`);
    expect(digestOf(readFileSync(join(copy, 'manifest.json')))).toBe(image.manifest.descriptor.digest);
    for (const layer of image.layers) {
      const blob = readFileSync(join(copy, layer.descriptor.digest.slice('sha256:'.length)));
      expect(digestOf(blob)).toBe(layer.descriptor.digest);
    }
  });

  test('unpacks it to the same diff ids', async () => {
    const image = await makeImage(compression);
    const layout = join(folder, `${compression}.layout`);
    await writeOciLayout(layout, image, { tag: 'app' });
    await writeOciLayout(layout, image, { tag: 'app' });
    const plain = join(folder, `${compression}.plain`);
    skopeo('copy', '-q', '--dest-decompress', `oci:${layout}:app`, `dir:${plain}`);
    const manifest = JSON.parse(readFileSync(join(plain, 'manifest.json'), 'utf8')) as { layers: { digest: string }[] };
    expect(manifest.layers.map(({ digest }) => digest)).toEqual(image.layers.map((layer) => layer.diffId));
  });
});

// Docker's archive knows no zstd of old.
test.each(['none', 'gzip'] as const)(
  'a docker-archive packed by %s is read by skopeo with the same config',
  async (compression) => {
    const image = await makeImage(compression);
    const file = await save(dockerArchive(image, { tags: ['app:1'] }), `${compression}.docker.tar`);
    const config = skopeo('inspect', '--config', '--raw', `docker-archive:${file}:app:1`);
    expect(digestOf(config)).toBe(image.config.descriptor.digest);
    const copy = join(folder, `${compression}.docker.dir`);
    skopeo('copy', '-q', `docker-archive:${file}:app:1`, `dir:${copy}`);
    const manifest = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8')) as { layers: unknown[] };
    expect(manifest.layers).toHaveLength(3);
  },
);

test('an index of two platforms is read for each', async () => {
  const both = multiPlatformImageOf([await makeImage('gzip', 'arm64'), await makeImage('gzip', 'amd64')]);
  const file = await save(ociArchive(both, { tag: 'app' }), 'both.oci.tar');
  for (const [index, architecture] of ['amd64', 'arm64'].entries()) {
    const seen = JSON.parse(
      skopeo('--override-arch', architecture, 'inspect', `oci-archive:${file}:app`),
    ) as Inspected & {
      Architecture: string;
    };
    expect(seen.Architecture).toBe(architecture);
    expect(both.images[index]?.platform.architecture).toBe(architecture);
  }
});
