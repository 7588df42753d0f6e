/** Pushing to and pulling from Debian's docker-registry, with logins, broken connections, and skopeo to look at it. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/digest.ts';
import { artifactOf, documentOfBytes } from '../../src/oci/artifact.ts';
import { type Image, imageOf, multiPlatformImageOf } from '../../src/oci/image.ts';
import type { Layer } from '../../src/oci/layer/layer.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { createRegistryClient } from '../../src/oci/remote/client.ts';
import { dockerCredentials } from '../../src/oci/remote/credentials.ts';
import { pullImage } from '../../src/oci/remote/pull.ts';
import { pushImage } from '../../src/oci/remote/push.ts';
import { parseReference } from '../../src/oci/remote/reference.ts';
import { pushArtifact, referrersOf } from '../../src/oci/remote/referrers.ts';
import { tarStream } from '../../src/oci/tar/tar-stream.ts';
import { startCuttingProxy } from '../support/cutting-proxy.ts';
import { type DockerRegistry, noDockerRegistry, startDockerRegistry } from '../support/docker-registry.ts';
import { startTokenServer } from '../support/token-server.ts';

/** `ann:secret`, in bcrypt. */
const htpasswd = 'ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-push-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', '--tmpdir', folder, ...args], { encoding: 'utf8', stdio: 'pipe' });

/** A layer whose bytes are made as they are read, so that none of it needs to lie in memory. */
async function layerOf(name: string, bytes: number, seed = randomBytes(1024)): Promise<Layer> {
  const block = Buffer.concat(Array.from({ length: 64 }, () => seed));
  const blocks = Math.ceil(bytes / block.length);
  const open = () =>
    tarStream([
      {
        type: 'file',
        path: Buffer.from(name),
        mode: 0o644,
        size: blocks * block.length,
        async *content() {
          for (let index = 0; index < blocks; index += 1) {
            await new Promise(setImmediate);
            yield block;
          }
        },
      },
    ]);
  const hash = createHash('sha256');
  let size = 0;
  for await (const piece of open()) {
    hash.update(piece);
    size += piece.length;
  }
  const digest = `sha256:${hash.digest('hex')}` as const;
  return { descriptor: { mediaType: mediaTypes.layer, digest, size }, diffId: digest, tarSize: size, open };
}

async function makeImage(architecture = 'amd64', bytes = 3_000_000): Promise<Image> {
  const layers = await Promise.all(['one', 'two'].map(async (name) => layerOf(name, bytes)));
  return imageOf(layers, { architecture, env: { GREETING: 'hello' } });
}

async function digestOfStream(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of stream) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
}

/** Everything that skopeo copied has the digest that the image has. */
function checkCopy(image: Image, copy: string): void {
  expect(digestOf(readFileSync(join(copy, 'manifest.json')))).toBe(image.manifest.descriptor.digest);
  for (const { descriptor } of [image.config, ...image.layers]) {
    expect(digestOf(readFileSync(join(copy, descriptor.digest.slice('sha256:'.length))))).toBe(descriptor.digest);
  }
}

describe.skipIf(noDockerRegistry)(`docker-registry (${noDockerRegistry ?? 'there'})`, () => {
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry();
  });
  afterAll(async () => registry.stop());
  const at = (name: string) => parseReference(`${registry.host}/${name}`);

  test('takes an image that skopeo copies out with the same digests, and moves nothing twice', async () => {
    const client = createRegistryClient();
    const image = await makeImage();
    expect(await pushImage(client, image, at('team/app:1'))).toMatchObject({ movedBlobs: 3, keptBlobs: 0 });
    skopeo(
      'copy',
      '-q',
      '--src-tls-verify=false',
      '--preserve-digests',
      `docker://${registry.host}/team/app:1`,
      `dir:${folder}/copy`,
    );
    checkCopy(image, join(folder, 'copy'));
    expect(await pushImage(client, image, at('team/app:2'))).toMatchObject({ movedBytes: 0, keptBlobs: 3 });
    const elsewhere = await pushImage(client, image, at('other/app:1'), { mountFrom: ['team/app'] });
    expect(elsewhere).toMatchObject({ movedBytes: 0, mountedBlobs: 3 });
    expect((await client.tags(at('team/app'))).sort()).toEqual(['1', '2']);
  });

  test('takes an index of two platforms, of which each is pulled by its own', async () => {
    const client = createRegistryClient();
    const both = multiPlatformImageOf([await makeImage('amd64'), await makeImage('arm64')]);
    const { digest } = await pushImage(client, both, at('multi:1'));
    expect(digest).toBe(both.index.descriptor.digest);
    for (const image of both.images) {
      const pulled = await pullImage(client, at('multi:1'), { platform: image.platform });
      expect(pulled.manifest.descriptor.digest).toBe(image.manifest.descriptor.digest);
      const seen = skopeo(
        '--override-arch',
        image.platform.architecture,
        'inspect',
        '--tls-verify=false',
        `docker://${registry.host}/multi:1`,
      );
      expect((JSON.parse(seen) as { Architecture: string }).Architecture).toBe(image.platform.architecture);
    }
  });

  test('gives what skopeo pushed, in gzip and under names of Docker, with true digests', async () => {
    const client = createRegistryClient();
    await pushImage(client, await makeImage(), at('plain:1'));
    const where = `docker://${registry.host}`;
    const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    skopeo('copy', '-q', ...tls, '--format', 'v2s2', '--dest-compress', `${where}/plain:1`, `${where}/docker:1`);
    const pulled = await pullImage(client, at('docker:1'), { platform: { os: 'linux', architecture: 'amd64' } });
    expect(pulled.manifest.descriptor.mediaType).toBe(mediaTypes.dockerManifest);
    for (const layer of pulled.layers) expect(await digestOfStream(layer.open())).toBe(layer.descriptor.digest);
    // What was pulled can be pushed on, with the same digest.
    const again = await pushImage(client, pulled, at('again:1'));
    expect(again.digest).toBe(pulled.manifest.descriptor.digest);
  });

  test('keeps to memory that does not grow with the image', async () => {
    const image = imageOf([await layerOf('large', 300_000_000)], { architecture: 'amd64' });
    const client = createRegistryClient();
    const before = process.memoryUsage.rss();
    let highest = 0;
    const watch = () => (highest = Math.max(highest, process.memoryUsage.rss()));
    await pushImage(client, image, at('large:1'), { emit: watch });
    const pulled = await pullImage(client, at('large:1'), { platform: image.platform, emit: watch });
    expect(await digestOfStream(pulled.layers[0]!.open())).toBe(image.layers[0]?.descriptor.digest);
    expect(highest).toBeGreaterThan(0);
    expect(highest - before).toBeLessThan(200_000_000);
  });

  test.each([undefined, 4_000_000])(
    'takes an image over a connection that is cut, by chunks of %s',
    async (chunkBytes) => {
      const proxy = await startCuttingProxy(registry.host);
      try {
        const image = await makeImage('amd64', 10_000_000);
        const through = parseReference(`${proxy.host}/cut/up:${chunkBytes ?? 'whole'}`);
        proxy.cutAfter(6_000_000, 'up');
        await pushImage(createRegistryClient(), image, through, {
          concurrency: 1,
          ...(chunkBytes === undefined ? {} : { chunkBytes }),
        });
        expect(proxy.cuts).toBe(1);
        const pulled = await pullImage(createRegistryClient(), at(`cut/up:${chunkBytes ?? 'whole'}`), {
          platform: image.platform,
        });
        for (const layer of pulled.layers) expect(await digestOfStream(layer.open())).toBe(layer.descriptor.digest);
      } finally {
        await proxy.close();
      }
    },
  );

  test('gives a layer over a connection that is cut, without sending it all again', async () => {
    const proxy = await startCuttingProxy(registry.host);
    try {
      const image = await makeImage('amd64', 10_000_000);
      await pushImage(createRegistryClient(), image, at('cut/down:1'));
      const through = parseReference(`${proxy.host}/cut/down:1`);
      const pulled = await pullImage(createRegistryClient(), through, { platform: image.platform });
      proxy.cutAfter(6_000_000, 'down');
      const layer = pulled.layers[0]!;
      expect(await digestOfStream(layer.open())).toBe(layer.descriptor.digest);
      expect(proxy.cuts).toBe(1);
    } finally {
      await proxy.close();
    }
  });

  test('keeps artifacts that refer to an image, by the tag schema since it has no list of referrers', async () => {
    const client = createRegistryClient();
    const image = await makeImage();
    await pushImage(client, image, at('about:1'));
    const bytes = Buffer.from('{}');
    const document = documentOfBytes('application/json', bytes, digestOf(bytes));
    const artifact = artifactOf({
      artifactType: 'application/x-test',
      subject: image.manifest.descriptor,
      documents: [document],
    });
    await pushArtifact(client, at('about'), artifact);
    const found = await referrersOf(client, at('about'), image.manifest.descriptor.digest, 'application/x-test');
    expect(found.map(({ digest }) => digest)).toEqual([artifact.manifest.descriptor.digest]);
  });

  test('that has gone away is told', async () => {
    const gone = await startDockerRegistry();
    const reference = parseReference(`${gone.host}/app:1`);
    await gone.stop();
    const client = createRegistryClient();
    await expect(pushImage(client, await makeImage(), reference)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    });
    await expect(pullImage(client, reference)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' });
  });
});

describe.skipIf(noDockerRegistry)(`docker-registry with a login (${noDockerRegistry ?? 'there'})`, () => {
  test('by htpasswd lets in whom a credential helper of Docker knows, and nobody else', async () => {
    const registry = await startDockerRegistry({ htpasswd });
    try {
      const docker = mkdtempSync(join(folder, 'docker-'));
      const helper = join(docker, 'docker-credential-test');
      writeFileSync(helper, `#!/bin/sh\necho '{"ServerURL":"x","Username":"ann","Secret":"secret"}'\n`);
      chmodSync(helper, 0o755);
      writeFileSync(join(docker, 'config.json'), JSON.stringify({ credHelpers: { [registry.host]: 'test' } }));
      const credentials = dockerCredentials({ folder: docker, environment: { PATH: `${docker}:/usr/bin:/bin` } });
      const image = await makeImage();
      const reference = parseReference(`${registry.host}/app:1`);
      await pushImage(createRegistryClient({ credentials }), image, reference);
      skopeo(
        'copy',
        '-q',
        '--src-tls-verify=false',
        '--src-creds',
        'ann:secret',
        `docker://${registry.host}/app:1`,
        `dir:${folder}/login`,
      );
      checkCopy(image, join(folder, 'login'));
      await expect(pullImage(createRegistryClient(), reference)).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
      writeFileSync(
        join(docker, 'config.json'),
        JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from('ann:wrong').toString('base64') } } }),
      );
      await expect(pullImage(createRegistryClient({ credentials }), reference)).rejects.toMatchObject({
        code: 'REGISTRY_DENIED',
      });
    } finally {
      await registry.stop();
    }
  });

  test('by a token server gives and takes by scope, anonymously where it is public', async () => {
    const tokens = await startTokenServer('ann:secret');
    const registry = await startDockerRegistry({ token: tokens });
    try {
      const image = await makeImage();
      const ann = { kind: 'password', username: 'ann', password: 'secret' } as const;
      const client = createRegistryClient({ credentials: () => Promise.resolve(ann) });
      const reference = parseReference(`${registry.host}/public/app:1`);
      await pushImage(client, image, reference, { concurrency: 2 });
      expect(tokens.asked).toEqual([['repository:public/app:pull'], ['repository:public/app:pull,push']]);
      const elsewhere = parseReference(`${registry.host}/private/app:1`);
      expect(await pushImage(client, image, elsewhere, { mountFrom: ['public/app'] })).toMatchObject({
        mountedBlobs: 3,
      });
      const nobody = createRegistryClient();
      const pulled = await pullImage(nobody, reference, { platform: image.platform });
      expect(await digestOfStream(pulled.layers[0]!.open())).toBe(image.layers[0]?.descriptor.digest);
      await expect(pullImage(nobody, elsewhere)).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
      await expect(pushImage(nobody, await makeImage(), reference)).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
      const wrong = createRegistryClient({ credentials: () => Promise.resolve({ ...ann, password: 'guess' }) });
      const failure = await pullImage(wrong, reference).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'REGISTRY_DENIED' });
      expect(String(failure)).toContain('incorrect username or password');
      expect(String(failure)).not.toContain('guess');
    } finally {
      await registry.stop();
      await tokens.close();
    }
  });

  test('whose tokens live shorter than a push is asked for new ones', async () => {
    const tokens = await startTokenServer('ann:secret', 1);
    const registry = await startDockerRegistry({ token: tokens });
    try {
      const ann = { kind: 'password', username: 'ann', password: 'secret' } as const;
      // A clock that runs a second ahead with each question.
      let now = Date.now();
      const client = createRegistryClient({ credentials: () => Promise.resolve(ann), now: () => (now += 1000) });
      await pushImage(client, await makeImage(), parseReference(`${registry.host}/app:1`), { concurrency: 1 });
      expect(tokens.asked.length).toBeGreaterThan(4);
    } finally {
      await registry.stop();
      await tokens.close();
    }
  });
});
