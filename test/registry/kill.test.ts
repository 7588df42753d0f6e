/** A registry that is killed at any moment loses nothing that it has acknowledged, and keeps its limit. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, type Digest } from '../../src/core/digest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { startRegistry, type RegistryProcess } from './registry-process.ts';

let folder: string;
let registry: RegistryProcess;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-registry-kill-'));
});
afterEach(async () => {
  await registry.kill();
  rmSync(folder, { recursive: true, force: true });
});

async function pushBlob(url: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  const response = await fetch(`${url}/v2/r/blobs/uploads/?digest=${digest}`, {
    method: 'POST',
    body: Buffer.from(bytes),
  });
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  return digest;
}

async function pushImage(url: string, tag: string, bytes: Uint8Array): Promise<Digest> {
  const layer = await pushBlob(url, bytes);
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: await pushBlob(url, config), size: config.length },
    layers: [{ mediaType: mediaTypes.layer, digest: layer, size: bytes.length }],
  });
  const response = await fetch(`${url}/v2/r/manifests/${tag}`, {
    method: 'PUT',
    body: manifest,
    headers: { 'Content-Type': mediaTypes.manifest },
  });
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  return digestOf(manifest);
}

const blobFiles = () => readdirSync(join(folder, 'blobs/sha256')).filter((name) => /^[0-9a-f]{64}$/.test(name));
const bytesOnDisk = () =>
  readdirSync(join(folder, 'blobs/sha256')).reduce((sum, name) => {
    try {
      return sum + statSync(join(folder, 'blobs/sha256', name)).size;
    } catch {
      return sum;
    }
  }, 0);

/** Every blob that is there under a name has that digest: none is half written. */
function expectWholeBlobs(): void {
  for (const name of blobFiles()) {
    const digest = createHash('sha256')
      .update(readFileSync(join(folder, 'blobs/sha256', name)))
      .digest('hex');
    expect(digest).toBe(name);
  }
}

describe('kill -9', () => {
  test('in the middle of pushes, again and again, loses no acknowledged blob or image', async () => {
    const acknowledged = new Map<string, Digest>();
    const blobs = new Set<Digest>();
    for (let round = 0; round < 15; round += 1) {
      registry = await startRegistry(folder);
      const { url } = registry;
      let stopped = false;
      const pusher = async (name: string): Promise<void> => {
        for (let index = 0; !stopped; index += 1) {
          try {
            blobs.add(await pushBlob(url, randomBytes(300_000)));
            const tag = `t${round}-${name}-${index}`;
            acknowledged.set(tag, await pushImage(url, tag, randomBytes(50_000)));
          } catch {
            // The registry was killed; this one was not acknowledged.
            return;
          }
        }
      };
      const before = blobs.size;
      const pushers = ['a', 'b', 'c'].map(pusher);
      // At another moment of the work each time, and not before there was some.
      while (blobs.size < before + 2 + (round % 5)) await new Promise((resolve) => setTimeout(resolve, 1));
      await registry.kill();
      stopped = true;
      await Promise.all(pushers);
    }
    registry = await startRegistry(folder);
    for (const [tag, digest] of acknowledged) {
      const response = await fetch(`${registry.url}/v2/r/manifests/${tag}`);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      const manifest = (await response.json()) as { layers: { digest: Digest }[] };
      for (const layer of manifest.layers) blobs.add(layer.digest);
    }
    const there = new Set(blobFiles());
    expect([...blobs].filter((digest) => !there.has(digest.slice(7)))).toEqual([]);
    expectWholeBlobs();
    expect(acknowledged.size).toBeGreaterThan(0);
  });

  test('in the middle of an upload keeps the chunks that were acknowledged', async () => {
    registry = await startRegistry(folder);
    const bytes = randomBytes(900_000);
    const started = await fetch(`${registry.url}/v2/r/blobs/uploads/`, { method: 'POST' });
    const place = started.headers.get('location')!;
    for (let chunk = 0; chunk < 3; chunk += 1) {
      const part = bytes.subarray(chunk * 300_000, (chunk + 1) * 300_000);
      const response = await fetch(registry.url + place, {
        method: 'PATCH',
        body: part,
        headers: { 'Content-Range': `${chunk * 300_000}-${(chunk + 1) * 300_000 - 1}` },
      });
      expect(response.headers.get('range')).toBe(`0-${(chunk + 1) * 300_000 - 1}`);
      await registry.kill();
      registry = await startRegistry(folder);
    }
    const done = await fetch(`${registry.url}${place}?digest=${digestOf(bytes)}`, { method: 'PUT' });
    expect(done.status).toBe(201);
  });

  test('in the middle of evictions leaves no image without its blobs', async () => {
    const maxBytes = 3_000_000;
    let pushed = 0;
    for (let round = 0; round < 8; round += 1) {
      registry = await startRegistry(folder, { maxBytes });
      const { url, child } = registry;
      const before = pushed;
      const pushing = (async () => {
        for (;;) {
          try {
            await pushImage(url, `e${pushed}`, randomBytes(400_000));
            pushed += 1;
          } catch {
            return;
          }
        }
      })();
      while (pushed < before + 9 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 1));
      await registry.kill();
      await pushing;
    }
    registry = await startRegistry(folder, { maxBytes });
    const list = (await (await fetch(`${registry.url}/v2/r/tags/list`)).json()) as { tags: string[] };
    expect(list.tags.length).toBeGreaterThan(0);
    for (const tag of list.tags) {
      const manifest = (await (await fetch(`${registry.url}/v2/r/manifests/${tag}`)).json()) as {
        layers: { digest: Digest }[];
      };
      for (const { digest } of manifest.layers) {
        const response = await fetch(`${registry.url}/v2/r/blobs/${digest}`);
        expect(digestOf(Buffer.from(await response.arrayBuffer()))).toBe(digest);
      }
    }
    expectWholeBlobs();
    expect(bytesOnDisk()).toBeLessThanOrEqual(maxBytes);
  });
});

test('the limit holds the whole time while 500 images are pushed and some pulled', async () => {
  const maxBytes = 2_000_000;
  registry = await startRegistry(folder, { maxBytes });
  const base = randomBytes(100_000);
  const pulled: number[] = [];
  let most = 0;
  let at = 0;
  const push = async (): Promise<void> => {
    while (at < 500) {
      const index = at;
      at += 1;
      await pushImage(registry.url, `i${index}`, Buffer.concat([base.subarray(0, 20_000), randomBytes(20_000)]));
      if (index % 25 === 0) {
        pulled.push(index);
        expect((await fetch(`${registry.url}/v2/r/manifests/i${index}`)).status).toBe(200);
      }
      most = Math.max(most, bytesOnDisk());
    }
  };
  await Promise.all([push(), push(), push(), push()]);
  expect(most).toBeLessThanOrEqual(maxBytes);
  // It is used, not merely kept empty.
  expect(most).toBeGreaterThan(maxBytes / 2);
  const list = (await (await fetch(`${registry.url}/v2/r/tags/list`)).json()) as { tags: string[] };
  // A pull that has just begun is under way.
  for (const index of [499, ...pulled]) expect(list.tags).toContain(`i${index}`);
  expect(list.tags.length).toBeLessThan(60);
});

test('a pull in flight is served to its end while others evict all else', async () => {
  registry = await startRegistry(folder, { maxBytes: 30_000_000 });
  const bytes = randomBytes(20_000_000);
  await pushImage(registry.url, 'slow', bytes);
  const { layers } = (await (await fetch(`${registry.url}/v2/r/manifests/slow`)).json()) as {
    layers: { digest: Digest }[];
  };
  const response = await fetch(`${registry.url}/v2/r/blobs/${layers[0]!.digest}`);
  const pieces = (response.body as unknown as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const hash = createHash('sha256');
  hash.update(((await pieces.next()) as IteratorYieldResult<Uint8Array>).value);
  for (let index = 0; index < 40; index += 1) await pushImage(registry.url, `x${index}`, randomBytes(1_000_000));
  for await (const piece of { [Symbol.asyncIterator]: () => pieces }) hash.update(piece);
  expect(`sha256:${hash.digest('hex')}`).toBe(layers[0]!.digest);
  expect((await fetch(`${registry.url}/v2/r/manifests/slow`, { method: 'HEAD' })).status).toBe(200);
});

test('clients that are silent or gone hold up nobody, and what they sent is kept', async () => {
  registry = await startRegistry(folder);
  const port = Number(new URL(registry.url).port);
  const started = await fetch(`${registry.url}/v2/r/blobs/uploads/`, { method: 'POST' });
  const place = started.headers.get('location')!;
  const socket = connect(port, '127.0.0.1');
  socket.write(`PATCH ${place} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nfirst`);
  const size = async () => (await fetch(registry.url + place)).headers.get('range');
  while ((await size()) !== '0-4') await new Promise((resolve) => setTimeout(resolve, 5));
  // The silent one still has its connection; another continues the upload in its place.
  const continued = await fetch(registry.url + place, { method: 'PATCH', body: ' second' });
  expect(continued.headers.get('range')).toBe('0-11');
  socket.destroy();
  const done = await fetch(`${registry.url}${place}?digest=${digestOf('first second')}`, { method: 'PUT' });
  expect(done.status).toBe(201);
});
