import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../core/digest.ts';
import type { BerthEvent } from '../../core/events.ts';
import { diskBlobs } from '../../oci/blobs/disk-blobs.ts';
import { codesOf, openTestRegistry, type TestRegistry } from '../registry-for-tests.ts';

const maxBytes = 100_000;
/** Layers of 20 kB that differ. */
const layer = (name: string) => name.repeat(20_000 / name.length);

let registry: TestRegistry;
let events: BerthEvent[];
beforeEach(() => {
  events = [];
  registry = openTestRegistry({ maxBytes, emit: (event) => events.push(event) });
});
afterEach(() => registry.destroy());

const names = () => registry.images.usage().images.flatMap((image) => image.names);

describe('the limit', () => {
  test('lets images go, so that it holds, and says which', async () => {
    for (let index = 0; index < 12; index += 1) {
      await registry.pushImage(`image${index}`, 'latest', [layer(String.fromCharCode(97 + index))]);
      expect(registry.blobs.usedBytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(names()).toContain('image11:latest');
    expect(names().length).toBeLessThan(6);
    expect(events.filter(({ type }) => type === 'image.evicted').length).toBe(12 - names().length);
    // What is gone is gone from the disk, too.
    let bytes = 0;
    for await (const { size } of diskBlobs(registry.folder).list()) bytes += size;
    expect(bytes).toBe(registry.blobs.usedBytes);
    expect((await registry.send('GET', '/v2/image0/manifests/latest')).status).toBe(404);
  });

  test('spares what is pinned, and refuses more when all of it is', async () => {
    for (const name of ['a', 'b', 'c', 'd']) {
      await registry.pushImage(name, 'latest', [layer(name)]);
      registry.images.pin(`${name}:latest`, true);
    }
    const response = await registry.send(
      'POST',
      `/v2/e/blobs/uploads/?digest=${digestOf(layer('e') + layer('f'))}`,
      layer('e') + layer('f'),
    );
    expect([response.status, await codesOf(response)]).toEqual([507, ['DENIED']]);
    expect(names().sort()).toEqual(['a:latest', 'b:latest', 'c:latest', 'd:latest']);
    registry.images.pin('b:latest', false);
    await registry.pushImage('e', 'latest', [layer('e')]);
    expect(names().sort()).toEqual(['a:latest', 'c:latest', 'd:latest', 'e:latest']);
  });

  test('spares what is being pulled, pushed or held', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await registry.pushImage(name, 'latest', [layer(name)]);
    await registry.send('GET', '/v2/a/manifests/latest');
    const release = registry.images.hold(registry.manifests.findImage('b:latest')!);
    await registry.send('HEAD', `/v2/c/blobs/${digestOf(layer('c'))}`);
    // The fourth goes; the second push finds none that may go.
    await registry.pushImage('e', 'latest', [layer('e')]);
    expect(names().sort()).toEqual(['a:latest', 'b:latest', 'c:latest', 'e:latest']);
    const digest = await registry.pushBlob('f', layer('f'));
    expect(names().sort()).toEqual(['a:latest', 'b:latest', 'c:latest']);
    const refused = await registry.send('POST', `/v2/g/blobs/uploads/?digest=${digestOf(layer('g'))}`, layer('g'));
    expect(refused.status).toBe(507);
    release();
    await registry.pushBlob('g', layer('g'));
    expect(names().sort()).toEqual(['a:latest', 'c:latest']);
    expect(await registry.blobs.size(digest)).toBe(20_000);
  });

  test('keeps a layer that another image needs, and one that is read', async () => {
    await registry.pushImage('a', 'latest', [layer('s'), layer('a')]);
    await registry.pushImage('b', 'latest', [layer('s'), layer('b')]);
    const { freedBytes } = await registry.images.remove('a:latest');
    expect(freedBytes).toBe(20_000);
    expect(await registry.blobs.size(digestOf(layer('s')))).toBe(20_000);
    expect((await registry.send('GET', `/v2/b/blobs/${digestOf(layer('s'))}`)).status).toBe(200);
    await registry.images.remove('b:latest');
    // It was asked for a moment ago.
    expect(await registry.blobs.size(digestOf(layer('s')))).toBe(20_000);
    expect(await registry.images.sweep({ olderThanMs: 0 })).toEqual({ blobs: 0, bytes: 0 });
  });
});

test('usage tells total, shared and own bytes', async () => {
  await registry.pushImage('a', 'one', [layer('s'), layer('a')]);
  await registry.pushImage('b', 'two', [layer('s')]);
  const usage = registry.images.usage();
  const config = usage.bytes - 40_000;
  expect(
    Object.fromEntries(usage.images.map((it) => [it.names[0], [it.bytes, it.sharedBytes, it.uniqueBytes]])),
  ).toEqual({
    'a:one': [40_000 + config, 20_000 + config, 20_000],
    'b:two': [20_000 + config, 20_000 + config, 0],
  });
  expect(usage).toMatchObject({ looseBytes: 0, maxBytes });
});

test('images are found by name, digest and the beginning of one', async () => {
  const digest = await registry.pushImage('a/b', 'one', ['x']);
  for (const reference of ['a/b:one', digest, `a/b@${digest}`, digest.slice(0, 20), digest.slice(7, 19)]) {
    expect(registry.images.pin(reference, true)).toBe(digest);
  }
  expect(() => registry.images.pin('a/b:two', true)).toThrow('There is no image a/b:two.');
});

test('after a crash the ledger is what is on the disk', async () => {
  await registry.pushImage('a', 'one', [layer('a')]);
  const found = diskBlobs(registry.folder);
  const draft = await found.draft();
  await draft.write(Buffer.from('a crash came between the rename and the record'));
  const { digest, size } = await draft.commit();
  const left = await found.draft();
  await left.write(Buffer.from('left'));
  await left.suspend();
  const before = registry.blobs.usedBytes;
  registry = await registry.reopen();
  await registry.blobs.reconciled;
  expect(registry.blobs.usedBytes).toBe(before + size + 4);
  expect(registry.images.usage().looseBytes).toBe(size);
  expect(await registry.images.sweep({ olderThanMs: 0 })).toEqual({ blobs: 1, bytes: size });
  expect(await found.size(digest)).toBeUndefined();
  rmSync(found.file(digestOf(layer('a'))));
  registry = await registry.reopen();
  await registry.blobs.reconciled;
  expect((await registry.send('HEAD', `/v2/a/blobs/${digestOf(layer('a'))}`)).status).toBe(404);
});
