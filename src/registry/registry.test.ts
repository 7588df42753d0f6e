import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson, digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { imageOf, multiPlatformImageOf } from '../oci/image.ts';
import type { Layer } from '../oci/layer/layer.ts';
import { mediaTypes } from '../oci/media-types.ts';
import { codesOf, openTestRegistry, type TestRegistry } from './registry-for-tests.ts';

let registry: TestRegistry;
beforeEach(() => {
  registry = openTestRegistry();
});
afterEach(() => registry.destroy());

const absent = `sha256:${'0'.repeat(64)}` as const;
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('pull', () => {
  test('gives blobs whole, in ranges and not at all when they are known', async () => {
    const content = 'some layer of ten words, to be cut in pieces soon';
    const digest = await registry.pushBlob('a/b', content);
    const path = `/v2/a/b/blobs/${digest}`;
    const whole = await registry.send('GET', path);
    expect([whole.status, whole.headers.get('content-length')]).toEqual([200, String(content.length)]);
    expect(whole.headers.get('docker-content-digest')).toBe(digest);
    expect(await whole.text()).toBe(content);
    const ranges: [string, number, string, string | null][] = [
      ['bytes=5-9', 206, content.slice(5, 10), `bytes 5-9/${content.length}`],
      ['bytes=40-', 206, content.slice(40), `bytes 40-${content.length - 1}/${content.length}`],
      ['bytes=-4', 206, content.slice(-4), `bytes ${content.length - 4}-${content.length - 1}/${content.length}`],
      ['bytes=0-9999', 206, content, `bytes 0-${content.length - 1}/${content.length}`],
      ['bytes=0-1,4-5', 200, content, null],
      ['lines=1-2', 200, content, null],
    ];
    for (const [range, status, text, contentRange] of ranges) {
      const part = await registry.send('GET', path, undefined, { Range: range });
      expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([status, text, contentRange]);
    }
    const beyond = await registry.send('GET', path, undefined, { Range: 'bytes=999-' });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${content.length}`]);
    const known = await registry.send('GET', path, undefined, { 'If-None-Match': `"${digest}"` });
    expect(known.status).toBe(304);
    const head = await registry.send('HEAD', path);
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([
      200,
      String(content.length),
      '',
    ]);
  });

  test('tells in OCI’s codes what is not there', async () => {
    await registry.pushImage('there', 'latest', ['layer']);
    const cases: [string, string, number, string][] = [
      ['GET', `/v2/there/blobs/${absent}`, 404, 'BLOB_UNKNOWN'],
      ['GET', '/v2/there/manifests/other', 404, 'MANIFEST_UNKNOWN'],
      ['GET', `/v2/there/manifests/${absent}`, 404, 'MANIFEST_UNKNOWN'],
      ['GET', '/v2/elsewhere/tags/list', 404, 'NAME_UNKNOWN'],
      ['GET', '/v2/Upper/tags/list', 400, 'NAME_INVALID'],
      ['GET', '/v2/there/blobs/sha256:short', 400, 'DIGEST_INVALID'],
      ['GET', '/v2/there/blobs/uploads/none', 404, 'BLOB_UPLOAD_UNKNOWN'],
      ['GET', '/v2/there/manifests/.not-a-tag', 404, 'MANIFEST_UNKNOWN'],
      ['DELETE', '/v2/there/manifests/other', 404, 'MANIFEST_UNKNOWN'],
      ['POST', '/v2/there/manifests/latest', 405, 'UNSUPPORTED'],
      ['GET', '/v2/there/nothing', 404, 'UNSUPPORTED'],
      ['GET', '/v2/there/tags/list?n=many', 400, 'UNSUPPORTED'],
    ];
    for (const [method, path, status, code] of cases) {
      const response = await registry.send(method, path);
      expect([method, path, response.status, await codesOf(response)]).toEqual([method, path, status, [code]]);
    }
  });

  test('shows a blob only in the repositories that have it', async () => {
    const digest = await registry.pushBlob('mine', 'secret');
    expect((await registry.send('GET', `/v2/yours/blobs/${digest}`)).status).toBe(404);
  });
});

describe('push', () => {
  test('takes a blob in chunks, tells how far it is, and refuses chunks that do not follow', async () => {
    const content = 'one two three';
    const started = await registry.send('POST', '/v2/a/blobs/uploads/');
    expect(started.status).toBe(202);
    const place = started.headers.get('location') ?? '';
    const chunk = (text: string, range: string) => registry.send('PATCH', place, text, { 'Content-Range': range });
    const first = await chunk('one ', '0-3');
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-3']);
    for (const wrong of ['5-7', '0-3', '4-9', 'x-y']) {
      const refused = await chunk('two', wrong);
      expect([refused.status, refused.headers.get('range'), await codesOf(refused)]).toEqual([
        416,
        '0-3',
        ['BLOB_UPLOAD_INVALID'],
      ]);
    }
    const status = await registry.send('GET', place);
    expect([status.status, status.headers.get('range'), status.headers.get('location')]).toEqual([204, '0-3', place]);
    expect((await chunk('two ', '4-7')).status).toBe(202);
    const done = await registry.send('PUT', `${place}?digest=${digestOf(content)}`, 'three');
    expect([done.status, done.headers.get('docker-content-digest')]).toEqual([201, digestOf(content)]);
    expect(await (await registry.send('GET', done.headers.get('location') ?? '')).text()).toBe(content);
    expect((await registry.send('GET', place)).status).toBe(404);
  });

  test('resumes an upload after a restart, hash and all', async () => {
    const started = await registry.send('POST', '/v2/a/blobs/uploads/');
    const place = started.headers.get('location') ?? '';
    await registry.send('PATCH', place, 'before ');
    registry = await registry.reopen();
    expect((await registry.send('GET', place)).headers.get('range')).toBe('0-6');
    const done = await registry.send('PUT', `${place}?digest=${digestOf('before after')}`, 'after');
    expect(done.status).toBe(201);
  });

  test('keeps an upload to its repository, and forgets a cancelled one', async () => {
    const place = (await registry.send('POST', '/v2/a/blobs/uploads/')).headers.get('location') ?? '';
    const other = place.replace('/v2/a/', '/v2/b/');
    expect((await registry.send('PATCH', other, 'x')).status).toBe(404);
    expect((await registry.send('DELETE', other)).status).toBe(404);
    expect((await registry.send('DELETE', place)).status).toBe(204);
    expect((await registry.send('PATCH', place, 'x')).status).toBe(404);
    expect(registry.blobs.usedBytes).toBe(0);
  });

  test('refuses bytes that do not have the digest', async () => {
    const response = await registry.send('POST', `/v2/a/blobs/uploads/?digest=${absent}`, 'bytes');
    expect([response.status, await codesOf(response)]).toEqual([400, ['DIGEST_INVALID']]);
    expect(registry.blobs.usedBytes).toBe(0);
  });

  test('mounts from another repository, named or found', async () => {
    const digest = await registry.pushBlob('from/here', 'shared');
    const mount = (to: string, more: string) =>
      registry.send('POST', `/v2/${to}/blobs/uploads/?mount=${digest}${more}`);
    expect((await mount('to/one', '&from=from/here')).status).toBe(201);
    expect((await mount('to/two', '')).status).toBe(201);
    expect((await registry.send('HEAD', `/v2/to/two/blobs/${digest}`)).status).toBe(200);
    // What can't be mounted is uploaded instead.
    expect((await mount('to/three', '&from=not/there')).status).toBe(202);
  });

  test('refuses manifests that are wrong or name what is not there', async () => {
    const layer = await registry.pushBlob('a', 'layer');
    const descriptor = { mediaType: mediaTypes.layer, digest: layer, size: 5 };
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config: descriptor, layers: [descriptor] };
    const put = (value: unknown, reference = 'tag', type: string = mediaTypes.manifest) =>
      registry.send('PUT', `/v2/a/manifests/${reference}`, typeof value === 'string' ? value : canonicalJson(value), {
        'Content-Type': type,
      });
    const missing = { ...descriptor, digest: absent };
    const cases: [Response, number, string][] = [
      [await put('no json'), 400, 'MANIFEST_INVALID'],
      [await put({ ...manifest, schemaVersion: 1 }), 400, 'MANIFEST_INVALID'],
      [await put({ ...manifest, layers: [{ digest: 'x' }] }), 400, 'MANIFEST_INVALID'],
      [await put(manifest, 'tag', mediaTypes.index), 400, 'MANIFEST_INVALID'],
      [await put({ ...manifest, mediaType: 'text/plain' }, 'tag', 'text/plain'), 400, 'MANIFEST_INVALID'],
      [await put({ ...manifest, config: missing }), 400, 'MANIFEST_BLOB_UNKNOWN'],
      [
        await put(
          { schemaVersion: 2, manifests: [{ ...missing, mediaType: mediaTypes.manifest }] },
          'tag',
          mediaTypes.index,
        ),
        400,
        'MANIFEST_BLOB_UNKNOWN',
      ],
      [await put(manifest, absent), 400, 'DIGEST_INVALID'],
      [await put('x'.repeat(5 * 2 ** 20)), 413, 'MANIFEST_INVALID'],
      [await put(manifest, 'not~a~tag'), 400, 'MANIFEST_INVALID'],
    ];
    for (const [response, status, code] of cases) {
      expect([response.status, await codesOf(response)]).toEqual([status, [code]]);
    }
    // A subject need not be there, nor a layer that is to be had elsewhere.
    const foreign = { ...missing, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar', urls: ['x'] };
    const allowed = await put({
      ...manifest,
      layers: [foreign],
      subject: { ...missing, mediaType: mediaTypes.manifest },
    });
    expect([allowed.status, allowed.headers.get('oci-subject')]).toEqual([201, absent]);
  });

  test('gives back a manifest byte for byte, by tag and digest', async () => {
    const config = await registry.pushBlob('a', '{}');
    const text = ` {"schemaVersion":2, "future":true, "config":{"mediaType":"x/y","digest":"${config}","size":2},"layers":[]}\n`;
    const name = `sha512:${createHash('sha512').update(text).digest('hex')}`;
    for (const reference of ['one', digestOf(text), name]) {
      const put = await registry.send('PUT', `/v2/a/manifests/${reference}?tag=two&tag=three`, text, {
        'Content-Type': mediaTypes.manifest,
      });
      expect(put.status).toBe(201);
      const got = await registry.send('GET', put.headers.get('location') ?? '');
      expect([await got.text(), got.headers.get('content-type')]).toEqual([text, mediaTypes.manifest]);
    }
    expect(await (await registry.send('GET', '/v2/a/tags/list')).json()).toEqual({
      name: 'a',
      tags: ['one', 'three', 'two'],
    });
  });
});

describe('content discovery', () => {
  test('lists tags and repositories in pages', async () => {
    for (const tag of ['c', 'a', 'b']) await registry.pushImage('some/name', tag, [tag]);
    await registry.pushImage('other', 'x', ['x']);
    const first = await registry.send('GET', '/v2/some/name/tags/list?n=2');
    expect(await first.json()).toEqual({ name: 'some/name', tags: ['a', 'b'] });
    const next = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    const second = await registry.send('GET', next);
    expect(await second.json()).toEqual({ name: 'some/name', tags: ['c'] });
    expect(second.headers.get('link')).toBeNull();
    expect(await (await registry.send('GET', '/v2/some/name/tags/list?n=0')).json()).toMatchObject({ tags: [] });
    expect(await (await registry.send('GET', '/v2/_catalog')).json()).toEqual({ repositories: ['other', 'some/name'] });
    expect(await (await registry.send('GET', '/v2/_catalog?n=1&last=other')).json()).toEqual({
      repositories: ['some/name'],
    });
  });

  test('lists what refers to a manifest, also before it is there', async () => {
    const config = await registry.pushBlob('a', '{}');
    const referrer = (artifactType: string) =>
      canonicalJson({
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        artifactType,
        config: { mediaType: mediaTypes.empty, digest: config, size: 2 },
        layers: [],
        subject: { mediaType: mediaTypes.manifest, digest: absent, size: 1 },
        annotations: { of: artifactType },
      });
    for (const type of ['x/sbom', 'x/signature']) {
      const put = await registry.send('PUT', `/v2/a/manifests/${digestOf(referrer(type))}`, referrer(type));
      expect(put.status).toBe(201);
    }
    const all = await registry.send('GET', `/v2/a/referrers/${absent}`);
    expect(all.headers.get('content-type')).toBe(mediaTypes.index);
    expect(((await all.json()) as { manifests: unknown[] }).manifests).toHaveLength(2);
    const some = await registry.send('GET', `/v2/a/referrers/${absent}?artifactType=x/sbom`);
    expect(some.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(await some.json()).toMatchObject({
      manifests: [{ artifactType: 'x/sbom', digest: digestOf(referrer('x/sbom')), annotations: { of: 'x/sbom' } }],
    });
    expect(await (await registry.send('GET', `/v2/b/referrers/${absent}`)).json()).toMatchObject({ manifests: [] });
  });
});

test('content management: tags, manifests and blobs go one by one', async () => {
  const digest = await registry.pushImage('a', 'one', ['layer']);
  await registry.pushImage('a', 'two', ['layer']);
  expect((await registry.send('DELETE', '/v2/a/manifests/one')).status).toBe(202);
  expect((await registry.send('GET', `/v2/a/manifests/${digest}`)).status).toBe(200);
  // A blob that an image needs goes from the repository's view, not from the disk.
  expect((await registry.send('DELETE', `/v2/a/blobs/${digestOf('layer')}`)).status).toBe(202);
  expect((await registry.send('GET', `/v2/a/blobs/${digestOf('layer')}`)).status).toBe(404);
  expect(await registry.blobs.size(digestOf('layer'))).toBe(5);
  expect((await registry.send('DELETE', `/v2/a/manifests/${digest}`)).status).toBe(202);
  expect((await registry.send('GET', '/v2/a/manifests/two')).status).toBe(404);
  expect(await (await registry.send('GET', '/v2/a/tags/list')).json()).toEqual({ name: 'a', tags: [] });
});

describe('as a library', () => {
  const layerOf = (text: string): Layer => ({
    descriptor: { mediaType: mediaTypes.layer, digest: digestOf(text), size: text.length },
    diffId: digestOf(text),
    tarSize: text.length,
    // eslint-disable-next-line @typescript-eslint/require-await
    async *open() {
      yield Buffer.from(text);
    },
  });
  const settings = { architecture: 'amd64' as const, env: {}, command: ['sh'] };

  test('stores an image once, and serves it', async () => {
    const image = imageOf([layerOf('base'), layerOf('top')], settings);
    const first = await registry.putImage('a/b', 'v1', image, { costMs: 5000 });
    expect(first).toEqual({
      digest: image.manifest.descriptor.digest,
      writtenBlobs: 3,
      keptBlobs: 0,
      writtenBytes: 7 + image.config.bytes.length,
    });
    expect(await registry.putImage('a/b', 'v2', image)).toMatchObject({ writtenBlobs: 0, keptBlobs: 3 });
    const pulled = await registry.send('GET', '/v2/a/b/manifests/v2');
    expect((await bytesOf(pulled)).equals(Buffer.from(image.manifest.bytes))).toBe(true);
    expect(await (await registry.send('GET', `/v2/a/b/blobs/${digestOf('top')}`)).text()).toBe('top');
    expect(registry.images.usage().images).toMatchObject([{ names: ['a/b:v1', 'a/b:v2'], costMs: 5000 }]);
  });

  test('stores an index with its platforms as one image', async () => {
    const images = (['amd64', 'arm64'] as const).map((architecture) =>
      imageOf([layerOf(architecture)], { ...settings, architecture }),
    );
    const both = multiPlatformImageOf(images);
    await registry.putImage('multi', 'latest', both);
    const index = await registry.send('GET', '/v2/multi/manifests/latest');
    expect(index.headers.get('content-type')).toBe(mediaTypes.index);
    const [first] = images;
    expect((await registry.send('GET', `/v2/multi/manifests/${first?.manifest.descriptor.digest ?? ''}`)).status).toBe(
      200,
    );
    expect(registry.images.usage().images).toHaveLength(1);
  });

  test('builds what is missing, and tells why it can’t', async () => {
    const image = imageOf([layerOf('made')], settings);
    const asked: string[] = [];
    registry = await registry.reopen({
      storedName: (name) => name.split('/').sort().join('/'),
      onMissing: async (repository, reference) => {
        asked.push(`${repository}:${'tag' in reference ? reference.tag : reference.digest}`);
        if (repository.includes('unknown')) {
          throw new BerthError('UNKNOWN_PACKAGE', 'There is no package unknown.', { hint: 'Did you mean known?' });
        }
        if (repository.includes('slow')) {
          throw new BerthError('MIRROR_UNREACHABLE', 'It takes long.', { details: { retryAfterSeconds: 7 } });
        }
        const { digest } = await registry.putImage('a/b', 'latest', image);
        return { repository: 'a/b', digest };
      },
    });
    for (const name of ['b/a', 'a/b']) {
      const manifest = await registry.send('GET', `/v2/${name}/manifests/latest`);
      expect(manifest.headers.get('docker-content-digest')).toBe(image.manifest.descriptor.digest);
      expect((await registry.send('GET', `/v2/${name}/blobs/${digestOf('made')}`)).status).toBe(200);
    }
    expect(asked).toEqual(['b/a:latest']);
    const unknown = await registry.send('GET', '/v2/unknown/manifests/latest');
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({
      errors: [{ code: 'MANIFEST_UNKNOWN', message: 'There is no package unknown. Did you mean known?' }],
    });
    const slow = await registry.send('HEAD', '/v2/slow/manifests/latest');
    expect([slow.status, slow.headers.get('retry-after')]).toEqual([503, '7']);
  });
});
