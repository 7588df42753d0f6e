import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../core/digest.ts';
import type { BerthEvent } from '../../core/events.ts';
import { artifactOf, documentOfBytes } from '../artifact.ts';
import { type Image, imageOf, multiPlatformImageOf } from '../image.ts';
import type { Layer } from '../layer/layer.ts';
import { mediaTypes } from '../media-types.ts';
import { createRegistryClient, type RegistryClient } from './client.ts';
import type { Credential } from './credentials.ts';
import { type FakeRegistry, startFakeRegistry } from './fake-registry.ts';
import { pullImage, resolveReference } from './pull.ts';
import { pushImage } from './push.ts';
import { readBlob } from './read-blob.ts';
import { parseReference } from './reference.ts';
import { pushArtifact, referrersOf } from './referrers.ts';
import type { TransportOptions } from './transport.ts';

let registry: FakeRegistry;
let waits: number[];
beforeEach(async () => {
  registry = await startFakeRegistry();
  waits = [];
});
afterEach(async () => registry.close());

const clientWith = (options: TransportOptions = {}): RegistryClient =>
  createRegistryClient({ wait: (ms) => Promise.resolve(void waits.push(ms)), ...options });
const at = (name: string) => parseReference(`${registry.host}/${name}`);

function layerOf(text: string, bytes = 400_000): Layer & { opened: number } {
  const blob = Buffer.from(text.repeat(Math.ceil(bytes / text.length)));
  const layer = {
    descriptor: { mediaType: mediaTypes.layer, digest: digestOf(blob), size: blob.length },
    diffId: digestOf(blob),
    tarSize: blob.length,
    opened: 0,
    async *open() {
      layer.opened += 1;
      for (let start = 0; start < blob.length; start += 64 * 1024) {
        await new Promise(setImmediate);
        yield blob.subarray(start, start + 64 * 1024);
      }
    },
  };
  return layer;
}

const imageWith = (layers: readonly Layer[], architecture = 'amd64') =>
  imageOf(layers, { architecture, env: { A: 'b' } });
const example = (): Image => imageWith([layerOf('one'), layerOf('two')]);

async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

const countOf = (pattern: RegExp) => registry.requests.filter((line) => pattern.test(line)).length;

describe('pushing', () => {
  test('moves each blob once, the name last, and nothing the second time', async () => {
    const image = example();
    const events: BerthEvent[] = [];
    const first = await pushImage(clientWith(), image, at('app:1'), { emit: (event) => events.push(event) });
    expect(first).toMatchObject({ digest: image.manifest.descriptor.digest, movedBlobs: 3, keptBlobs: 0 });
    expect(first.movedBytes).toBeGreaterThan(800_000);
    expect(registry.requests.at(-1)).toBe('PUT /v2/app/manifests/1');
    expect(registry.blobs.size).toBe(3);
    const { done, total } = events.at(-1) as { done: number; total: number };
    expect(done).toBe(total);
    expect(await pushImage(clientWith(), image, at('app:1'))).toMatchObject({ movedBytes: 0, keptBlobs: 3 });
  });

  test('moves only the layer that is new', async () => {
    const shared = layerOf('shared');
    await pushImage(clientWith(), imageWith([shared]), at('app:1'));
    const added = layerOf('added');
    const pushed = await pushImage(clientWith(), imageWith([shared, added]), at('app:2'));
    expect(pushed).toMatchObject({ movedBlobs: 2, keptBlobs: 1 });
    expect(shared.opened).toBe(1);
  });

  test('mounts what another repository of the registry has', async () => {
    const image = example();
    await pushImage(clientWith(), image, at('base:1'));
    const pushed = await pushImage(clientWith(), image, at('app:1'), { mountFrom: ['nothing/here', 'base'] });
    expect(pushed).toMatchObject({ mountedBlobs: 3, movedBytes: 0 });
  });

  test('of several platforms names the index last', async () => {
    const both = multiPlatformImageOf([example(), imageWith([layerOf('arm')], 'arm64')]);
    const pushed = await pushImage(clientWith(), both, at('app:1'));
    expect(pushed.digest).toBe(both.index.descriptor.digest);
    const arm = await pullImage(clientWith(), at('app:1'), { platform: { os: 'linux', architecture: 'arm64' } });
    expect(arm.manifest.descriptor.digest).toBe(both.images[1]?.manifest.descriptor.digest);
    const s390x = pullImage(clientWith(), at('app:1'), { platform: { os: 'linux', architecture: 's390x' } });
    await expect(s390x).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND', hint: 'It has: linux/amd64, linux/arm64.' });
  });

  test.each([undefined, 100_000])('goes on where the connection broke, by chunks of %s', async (chunkBytes) => {
    const layer = layerOf('long');
    registry.cutUploadAfter = 200_000;
    await pushImage(clientWith(), imageWith([layer]), at('app:1'), chunkBytes === undefined ? {} : { chunkBytes });
    expect(digestOf(registry.blobs.get(layer.descriptor.digest) ?? '')).toBe(layer.descriptor.digest);
    expect(layer.opened).toBe(2);
    expect(countOf(/^GET .*uploads/)).toBe(1);
    expect(countOf(/^POST/)).toBe(2);
  });

  test('begins anew where the registry dropped the upload', async () => {
    const layer = layerOf('long');
    registry.cutUploadAfter = 200_000;
    registry.intercept = (request, response) => {
      if (request.method !== 'GET' || !request.url?.includes('uploads')) return false;
      response.writeHead(404).end();
      return true;
    };
    await pushImage(clientWith(), imageWith([layer]), at('app:1'));
    expect(registry.blobs.has(layer.descriptor.digest)).toBe(true);
    expect(countOf(/^POST/)).toBe(3);
  });

  test('tells what a layer fails with, not what the connection says of it', async () => {
    const layer: Layer = {
      ...layerOf('x'),
      async *open() {
        yield Buffer.alloc(1000);
        await new Promise(setImmediate);
        throw new Error('the store path is gone');
      },
    };
    await expect(pushImage(clientWith(), imageWith([layer]), at('app:1'))).rejects.toThrow('the store path is gone');
    expect(countOf(/manifests/)).toBe(0);
  });

  test('stops when it is cancelled, and names nothing', async () => {
    const controller = new AbortController();
    registry.intercept = (request) => {
      if (request.method === 'PATCH') controller.abort();
      return false;
    };
    const pushing = pushImage(clientWith(), example(), at('app:1'), { signal: controller.signal });
    await expect(pushing).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(countOf(/^PUT .*manifests/)).toBe(0);
  });

  test('refuses another digest than the image has', async () => {
    const wrong = at(`app@${digestOf('other')}`);
    await expect(pushImage(clientWith(), example(), wrong)).rejects.toMatchObject({ code: 'REFERENCE_INVALID' });
  });
});

describe('pulling', () => {
  test('gives the same image, whose layers are read when they are opened', async () => {
    const image = example();
    await pushImage(clientWith(), image, at('app:1'));
    const pulled = await pullImage(clientWith(), at('app:1'), { platform: image.platform });
    expect(pulled.manifest.descriptor).toEqual(image.manifest.descriptor);
    expect(pulled.config.bytes).toEqual(Buffer.from(image.config.bytes));
    expect(pulled.chainIds).toEqual(image.chainIds);
    const before = countOf(/^GET .*blobs/);
    const layer = pulled.layers[0]!;
    expect(digestOf(await bytesOf(layer.open()))).toBe(layer.descriptor.digest);
    expect(countOf(/^GET .*blobs/)).toBe(before + 1);
  });

  test('goes on by a range where the connection broke', async () => {
    const image = example();
    await pushImage(clientWith(), image, at('app:1'));
    const pulled = await pullImage(clientWith(), at('app:1'), { platform: image.platform });
    registry.cutDownloadAfter = 150_000;
    const bytes = await bytesOf(pulled.layers[0]!.open());
    expect(digestOf(bytes)).toBe(image.layers[0]?.descriptor.digest);
    expect(registry.requests.filter((line) => /^GET .*blobs/.test(line))).toHaveLength(3);
    expect(waits).toHaveLength(1);
  });

  test('refuses bytes of another digest, and more or fewer than were promised', async () => {
    const image = example();
    await pushImage(clientWith(), image, at('app:1'));
    const { digest, size } = image.layers[0]!.descriptor;
    const damaged = Buffer.from(registry.blobs.get(digest)!);
    damaged[1000] = 0;
    registry.blobs.set(digest, damaged);
    await expect(bytesOf(readBlob(clientWith(), at('app'), { digest, size }))).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
    });
    const short = readBlob(clientWith(), at('app'), { digest, size: size - 1 });
    await expect(bytesOf(short)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    const long = readBlob(clientWith(), at('app'), { digest, size: size + 1 });
    await expect(bytesOf(long)).rejects.toMatchObject({ code: expect.stringMatching(/REGISTRY/) as string });
  });

  test('a manifest that is not what its digest says is refused', async () => {
    const image = example();
    const { digest } = await pushImage(clientWith(), image, at('app:1'));
    registry.manifests.set(`app@${digest}`, { bytes: Buffer.from('{}'), mediaType: mediaTypes.manifest });
    await expect(pullImage(clientWith(), at(`app@${digest}`))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
  });

  test('what is not there is told', async () => {
    await expect(pullImage(clientWith(), at('app:1'))).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: `${registry.host} refused the manifest of ${registry.host}/app:1 (HTTP 404). It says: MANIFEST_UNKNOWN: manifest unknown`,
    });
    await expect(resolveReference(clientWith(), at('app:1'))).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  });

  test('tags are listed over all pages, and a tag resolves to a digest', async () => {
    const image = example();
    for (const tag of ['a', 'b', 'c']) await pushImage(clientWith(), image, at(`app:${tag}`));
    expect(await clientWith().tags(at('app'))).toEqual(['a', 'b', 'c']);
    expect((await resolveReference(clientWith(), at('app:b'))).digest).toBe(image.manifest.descriptor.digest);
  });
});

describe('patience', () => {
  const failFirst = (times: number, answer: (request: IncomingMessage, response: ServerResponse) => void) => {
    let left = times;
    registry.intercept = (request, response) => {
      if (request.url === '/v2/' || left === 0) return false;
      left -= 1;
      answer(request, response);
      return true;
    };
  };

  test('with 503, with 429 and its Retry-After, and with a connection that is reset', async () => {
    await pushImage(clientWith(), example(), at('app:1'));
    failFirst(2, (_, response) => response.writeHead(503).end());
    await resolveReference(clientWith(), at('app:1'));
    failFirst(1, (_, response) => response.writeHead(429, { 'retry-after': '3' }).end());
    await resolveReference(clientWith(), at('app:1'));
    failFirst(1, (request) => request.socket.resetAndDestroy());
    await resolveReference(clientWith(), at('app:1'));
    expect(waits).toHaveLength(4);
    expect(waits[2]).toBe(3000);
  });

  test('ends, with the words of the registry', async () => {
    failFirst(99, (_, response) =>
      response.writeHead(429).end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\\u001b down"}]}'),
    );
    await expect(pullImage(clientWith(), at('app:1'))).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining('TOOMANYREQUESTS: slow  down') as string,
    });
    expect(waits).toHaveLength(4);
  });

  test('is not wasted on a registry that is not there', async () => {
    const reference = at('app:1');
    await registry.close();
    await expect(pullImage(clientWith(), reference)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      retryable: true,
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
    expect(waits).toEqual([]);
  });

  test('is not for what the registry refuses', async () => {
    registry.intercept = (request, response) => {
      if (request.method !== 'PATCH') return false;
      request.resume();
      request.on('end', () => response.writeHead(413).end('<html>too large</html>'));
      return true;
    };
    await expect(pushImage(clientWith(), example(), at('app:1'))).rejects.toMatchObject({ code: 'REGISTRY_REFUSED' });
    expect(waits).toEqual([]);
  });
});

describe('logging in', () => {
  /** A token server that gives a new token at each question, and a registry that takes the last ones only. */
  async function withTokens(lifeSeconds: number) {
    const asked: { url: URL; authorization: string | undefined; body: string }[] = [];
    const good = new Set<string>();
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (piece: Buffer) => (body += piece.toString()));
      request.on('end', () => {
        asked.push({ url: new URL(request.url ?? '', 'http://t'), authorization: request.headers.authorization, body });
        if (request.headers.authorization === `Basic ${Buffer.from('ann:wrong').toString('base64')}`) {
          response.writeHead(401).end('{"details":"incorrect username or password"}');
          return;
        }
        const token = `token-${asked.length}`;
        good.add(token);
        response.end(JSON.stringify({ token, expires_in: lifeSeconds }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
    registry.intercept = (request, response) => {
      const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
      if (token !== undefined && good.has(token)) return false;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="fake"` });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
      return true;
    };
    const close = async () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      });
    return { asked, good, close };
  }
  const ann: Credential = { kind: 'password', username: 'ann', password: 'secret' };

  test('takes one token for a scope, and a new one when it expires or is refused', async () => {
    const tokens = await withTokens(100);
    try {
      let now = 0;
      const client = clientWith({ credentials: () => Promise.resolve(ann), now: () => now });
      await pushImage(client, example(), at('app:1'));
      expect(tokens.asked.map(({ url }) => url.searchParams.getAll('scope'))).toEqual([
        ['repository:app:pull'],
        ['repository:app:pull,push'],
      ]);
      expect(tokens.asked[0]?.url.searchParams.get('service')).toBe('fake');
      expect(tokens.asked[0]?.authorization).toBe(`Basic ${Buffer.from('ann:secret').toString('base64')}`);
      await client.head(at('app:1'));
      expect(tokens.asked).toHaveLength(2);
      now = 90_000;
      await client.head(at('app:1'));
      expect(tokens.asked).toHaveLength(3);
      tokens.good.clear();
      await client.head(at('app:1'));
      expect(tokens.asked).toHaveLength(4);
    } finally {
      await tokens.close();
    }
  });

  test('with an identity token asks by a form, and sends the token nowhere else', async () => {
    const tokens = await withTokens(100);
    try {
      const client = clientWith({ credentials: () => Promise.resolve({ kind: 'identity', token: 'refresh-me' }) });
      await pushImage(client, example(), at('app:1'));
      const form = new URLSearchParams(tokens.asked[0]?.body);
      expect(Object.fromEntries(form)).toMatchObject({
        grant_type: 'refresh_token',
        refresh_token: 'refresh-me',
        service: 'fake',
      });
      expect(registry.authorizations.join()).not.toContain('refresh-me');
    } finally {
      await tokens.close();
    }
  });

  test('with a wrong password tells what the token server says, without the password', async () => {
    const tokens = await withTokens(100);
    try {
      const client = clientWith({ credentials: () => Promise.resolve({ ...ann, password: 'wrong' }) });
      const failure = await client.head(at('app:1')).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'REGISTRY_DENIED' });
      expect(String(failure)).toContain('incorrect username or password');
      expect(JSON.stringify(failure)).not.toContain('wrong"');
    } finally {
      await tokens.close();
    }
  });

  test('by Basic, and without credentials says how to get them', async () => {
    registry.intercept = (request, response) => {
      if (request.headers.authorization === `Basic ${Buffer.from('ann:secret').toString('base64')}`) return false;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="here"' }).end();
      return true;
    };
    await pushImage(clientWith({ credentials: () => Promise.resolve(ann) }), example(), at('app:1'));
    await expect(clientWith().head(at('app:1'))).rejects.toMatchObject({
      code: 'REGISTRY_DENIED',
      hint: expect.stringContaining('docker login') as string,
    });
    const wrong = clientWith({ credentials: () => Promise.resolve({ ...ann, password: 'x' }) });
    await expect(wrong.head(at('app:1'))).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
  });

  test('never sends credentials to a token server in the clear over the network', async () => {
    registry.intercept = (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://192.0.2.1/token"' }).end();
      return true;
    };
    const client = clientWith({ credentials: () => Promise.resolve(ann) });
    await expect(client.head(at('app:1'))).rejects.toMatchObject({ code: 'REGISTRY_REFUSED' });
  });
});

describe('artifacts', () => {
  test.each([true, false])('are found by what they refer to, with a referrers API: %s', async (hasApi) => {
    registry.hasReferrersApi = hasApi;
    const image = example();
    await pushImage(clientWith(), image, at('app:1'));
    const subject = image.manifest.descriptor;
    const made = ['a', 'b'].map((text) => {
      const bytes = Buffer.from(text);
      const document = documentOfBytes('text/plain', bytes, digestOf(bytes));
      return artifactOf({ artifactType: `application/x-${text}`, subject, documents: [document] });
    });
    for (const artifact of [...made, ...made]) await pushArtifact(clientWith(), at('app'), artifact);
    const found = await referrersOf(clientWith(), at('app'), subject.digest);
    expect(found.map(({ digest }) => digest).sort()).toEqual(
      made.map(({ manifest }) => manifest.descriptor.digest).sort(),
    );
    const [b] = await referrersOf(clientWith(), at('app'), subject.digest, 'application/x-b');
    expect(b?.digest).toBe(made[1]?.manifest.descriptor.digest);
    expect(await referrersOf(clientWith(), at('app'), digestOf('nothing'))).toEqual([]);
    expect(await clientWith().tags(at('app'))).toHaveLength(hasApi ? 1 : 2);
  });
});
