/** Images that are built because somebody pulls them, as skopeo and Docker see it. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildIfStale, createCliHome, firstOutput, type CliHome, type Outcome } from '../cli/cli-home.ts';
import { startDockerServer, type DockerServer } from '../support/docker-server.ts';
import { testHome } from '../support/test-home.ts';

let cli: CliHome;
let host: string;
let end: () => Promise<Outcome>;
let docker: DockerServer;

beforeAll(async () => {
  buildIfStale();
  cli = createCliHome();
  const started = cli.start(['serve', '--json', '--no-auth', '--listen', '127.0.0.1:0'], {
    env: {
      BERTH_REGISTRY_WAIT_MS: '1',
      BERTH_SOURCE: 'debian',
      BERTH_DEBIAN_SUITE: 'bookworm',
      BERTH_STORE_ROOT: join(testHome, 'store'),
    },
  });
  const { addresses } = JSON.parse(await firstOutput(started)) as { addresses: string[] };
  host = (addresses[1] ?? '').replace('http://', '');
  end = () => {
    started.child.kill('SIGTERM');
    return started.outcome;
  };
  docker = await startDockerServer();
}, 60_000);
afterAll(async () => {
  await end();
  await cli.close();
  if ('stop' in docker) await docker.stop();
});

const manifest = (name: string, method = 'GET') => fetch(`http://${host}/v2/${name}/manifests/latest`, { method });

/** Asks until it is built, as a client does that heeds Retry-After. */
async function built(name: string): Promise<Response> {
  for (;;) {
    const response = await manifest(name);
    if (response.status !== 503) return response;
    await response.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

test('past its patience a pull is told to come again, while the build goes on', async () => {
  const first = await manifest('hello/sed', 'HEAD');
  expect([first.status, first.headers.get('retry-after')]).toEqual([503, '10']);
  expect((await built('hello/sed')).status).toBe(200);
}, 120_000);

test('all spellings of a set are one image under one name', async () => {
  const digests = new Set<string | null>();
  for (const name of ['hello/sed', 'sed/hello', 'sed/hello/sed', 'slim/hello/0__73ed']) {
    digests.add((await manifest(name)).headers.get('docker-content-digest'));
  }
  expect(digests.size).toBe(1);
  const catalog = (await (await fetch(`http://${host}/v2/_catalog`)).json()) as { repositories: string[] };
  expect(catalog.repositories).toEqual(['packages/hello/sed']);
});

test('what is built takes no pushes', async () => {
  const body = await (await manifest('sed/hello')).text();
  const response = await fetch(`http://${host}/v2/sed/hello/manifests/latest`, {
    method: 'PUT',
    body,
    headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
  });
  expect(response.status).toBe(403);
});

test('tags and names that mean nothing are refused, and say so', async () => {
  const message = async (path: string) => {
    const response = await fetch(`http://${host}/v2/${path}`);
    return [response.status, JSON.stringify(await response.json())];
  };
  expect(await message('hello__zz/manifests/latest')).toEqual([404, expect.stringContaining('stands for no')]);
  expect(await message('hello/manifests/V1')).toEqual([404, expect.stringContaining('chooses no revision')]);
});

describe('an unknown package is told with the nearest names', () => {
  test('by skopeo', async ({ skip }) => {
    if (spawnSync('skopeo', ['--version']).status !== 0) return skip('skopeo is not installed');
    await built('ripgrepp');
    const output = await new Promise<string>((resolve) => {
      const child = spawn('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${host}/ripgrepp`]);
      let text = '';
      child.stderr.on('data', (data: Buffer) => (text += data.toString()));
      child.on('close', () => resolve(text));
    });
    expect(output).toContain('Did you mean ripgrep');
  }, 120_000);

  test('by Docker, which runs what is known', async ({ skip }) => {
    if ('unavailable' in docker) return skip(docker.unavailable);
    const client = new Docker({ socketPath: docker.socketPath });
    const stream = await client.pull(`${host}/sed/hello:latest`);
    await new Promise<void>((resolve, reject) =>
      client.modem.followProgress(stream, (error) => (error ? reject(error) : resolve())),
    );
    const [result] = (await client.run(`${host}/sed/hello:latest`, ['hello'], process.stderr, {
      HostConfig: { AutoRemove: true },
    })) as [{ StatusCode: number }];
    expect(result.StatusCode).toBe(0);
  });
});
