/** `berth serve` as a registry: what skopeo and Docker make of it, and the images' own command. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/digest.ts';
import { imageOf } from '../../src/oci/image.ts';
import { memoryLayerCache } from '../../src/oci/layer/layer-cache.ts';
import { createLayerWriter } from '../../src/oci/layer/layer-writer.ts';
import { Compressor } from '../../src/oci/layer/compressor.ts';
import { diskBlobs } from '../../src/oci/blobs/disk-blobs.ts';
import { writeOciLayout } from '../../src/oci/targets/oci-layout.ts';
import { buildIfStale, createCliHome, firstOutput, type CliHome, type Outcome } from '../cli/cli-home.ts';
import { startDockerServer, type DockerServer } from '../support/docker-server.ts';

const token = 'a-token-of-more-than-16';
const folder = mkdtempSync(join(tmpdir(), 'berth-registry-serve-'));
const compressor = new Compressor(1);
let cli: CliHome;
let host: string;
let end: () => Promise<Outcome>;
let docker: DockerServer;

beforeAll(async () => {
  buildIfStale();
  cli = createCliHome();
  const started = cli.start(['serve', '--json', '--listen', '127.0.0.1:0'], { env: { BERTH_TOKEN: token } });
  const { addresses } = JSON.parse(await firstOutput(started)) as { addresses: string[] };
  host = (addresses[1] ?? '').replace('http://', '');
  end = () => {
    started.child.kill('SIGTERM');
    return started.outcome;
  };
  docker = await startDockerServer();

  mkdirSync(join(folder, 'blobs-of-writer'), { recursive: true });
  const writer = createLayerWriter({
    physicalStore: folder,
    cache: memoryLayerCache(),
    compressor,
    blobs: diskBlobs(join(folder, 'blobs-of-writer')),
  });
  const layers = [
    await writer.treeLayer({ 'etc/hello': { content: 'hello\n' } }, 'gzip'),
    await writer.treeLayer({ 'etc/world': { content: 'world\n' } }, 'gzip'),
  ];
  const image = imageOf(layers, { architecture: 'amd64', env: {}, command: ['/bin/true'] });
  await writeOciLayout(join(folder, 'layout'), image, { tag: 'one' });
});
afterAll(async () => {
  await end();
  await cli.close();
  await compressor.close();
  if ('stop' in docker) await docker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const hasSkopeo = spawnSync('skopeo', ['--version']).status === 0;
const skopeo = (...args: string[]) =>
  execFileSync('skopeo', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const credentials = `me:${token}`;

test('who has no token is asked for a password, as docker login expects', async () => {
  const response = await fetch(`http://${host}/v2/`);
  expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="Berth"']);
  expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
  for (const authorization of [basic, `Bearer ${token}`]) {
    expect((await fetch(`http://${host}/v2/`, { headers: { authorization } })).status).toBe(200);
  }
});

describe.skipIf(!hasSkopeo)(`skopeo${hasSkopeo ? '' : ' (skipped: it is not installed)'}`, () => {
  test('pushes and pulls, and every digest is the same', () => {
    const to = `docker://${host}/team/app:one`;
    skopeo('copy', '--dest-tls-verify=false', '--dest-creds', credentials, `oci:${folder}/layout:one`, to);
    skopeo('copy', '--src-tls-verify=false', '--src-creds', credentials, to, `oci:${folder}/back:one`);
    const digest = (place: string) => digestOf(skopeo('inspect', '--raw', place));
    expect(digest(`oci:${folder}/back:one`)).toBe(digest(`oci:${folder}/layout:one`));
    expect(() =>
      skopeo('copy', '--src-tls-verify=false', '--src-creds', 'me:wrong', to, `oci:${folder}/no:one`),
    ).toThrow();
  });

  test('what it pushed is listed, pinned and removed by the command', async () => {
    const list = async () => {
      const outcome = await cli.berth(['images', 'ls', '--json']);
      return JSON.parse(outcome.stdout) as {
        images: { names: string[]; pinned: boolean; bytes: number }[];
        bytes: number;
      };
    };
    expect(await list()).toMatchObject({ images: [{ names: ['team/app:one'], pinned: false }] });
    expect((await cli.berth(['images', 'pin', 'team/app:one'])).code).toBe(0);
    expect((await list()).images[0]).toMatchObject({ pinned: true });
    expect((await cli.berth(['images', 'unpin', 'team/app:one'])).code).toBe(0);
    expect((await cli.berth(['images'])).stdout).toContain('team/app:one');
    expect(JSON.parse((await cli.berth(['du', '--json'])).stdout)).toMatchObject({
      images: { images: [{ names: ['team/app:one'] }] },
    });
    const unknown = await cli.berth(['images', 'rm', '--json', 'team/app:two']);
    expect([unknown.code, JSON.parse(unknown.stdout)]).toMatchObject([66, { error: { code: 'IMAGE_UNKNOWN' } }]);
  });

  test('Docker pulls it, and pushes it back under another name', async ({ skip }) => {
    if ('unavailable' in docker) return skip(docker.unavailable);
    const client = new Docker({ socketPath: docker.socketPath });
    const authconfig = { username: 'me', password: token, serveraddress: `http://${host}` };
    const follow = (stream: NodeJS.ReadableStream) =>
      new Promise<void>((resolve, reject) =>
        client.modem.followProgress(stream, (error) => (error ? reject(error) : resolve())),
      );
    await follow(await client.pull(`${host}/team/app:one`, { authconfig }));
    const image = client.getImage(`${host}/team/app:one`);
    await image.tag({ repo: `${host}/other/name`, tag: 'two' });
    await follow(await client.getImage(`${host}/other/name`).push({ tag: 'two', authconfig }));
    const tags = await fetch(`http://${host}/v2/other/name/tags/list`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(await tags.json()).toEqual({ name: 'other/name', tags: ['two'] });
  });

  test('is removed under all its names', async () => {
    const outcome = await cli.berth(['images', 'rm', '--json', 'team/app:one']);
    expect(outcome.code).toBe(0);
    const response = await fetch(`http://${host}/v2/team/app/manifests/one`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(response.status).toBe(404);
  });
});
