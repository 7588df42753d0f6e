/** The store of blobs in S3: the contract, and a registry over it, against a server on loopback. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/digest.ts';
import { testBlobStore } from '../../src/oci/blobs/blob-store-contract.ts';
import { writeBlob } from '../../src/oci/blobs/blob-store.ts';
import { s3Blobs } from '../../src/oci/blobs/s3-blobs.ts';
import { openTestRegistry } from '../../src/registry/registry-for-tests.ts';
import { testHome } from '../support/test-home.ts';

/** moto, as scripts/setup --for tests installs it. */
const program = ['/opt/berth-tests/moto/bin/moto_server', join(testHome, 'moto/bin/moto_server')].find(existsSync);
const folder = mkdtempSync(join(tmpdir(), 'berth-s3-'));
let server: ChildProcess | undefined;
let endpoint = '';

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

beforeAll(async () => {
  if (!program) return;
  const port = await freePort();
  server = spawn(program, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  endpoint = `http://127.0.0.1:${port}/blobs`;
  const answers = () =>
    fetch(endpoint, { method: 'PUT' }).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await answers())) await new Promise((resolve) => setTimeout(resolve, 50));
});
afterAll(() => {
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const open = (secretAccessKey = 'secret') =>
  s3Blobs({
    endpoint,
    region: 'us-east-1',
    accessKeyId: 'key',
    secretAccessKey,
    stagingFolder: join(folder, 'staging'),
  });

describe.skipIf(!program)(`S3${program ? '' : ' (skipped: moto is not installed; scripts/setup --for tests)'}`, () => {
  testBlobStore('S3', () => Promise.resolve(open()));

  test('takes a blob of several parts', async () => {
    const part = Buffer.alloc(9_000_000, 'abcdefgh');
    const blobs = open();
    const { digest, size } = await writeBlob(
      blobs,
      Array.from({ length: 8 }, () => part),
    );
    expect(size).toBe(72_000_000);
    expect(await blobs.size(digest)).toBe(size);
    const pieces: Uint8Array[] = [];
    for await (const piece of blobs.read(digest, { range: { start: 33_554_430, length: 10 } })) pieces.push(piece);
    expect(Buffer.concat(pieces).toString()).toBe('ghabcdefgh');
    await blobs.delete(digest);
  });

  test('serves a registry, by itself or by redirects to signed URLs', async () => {
    const registry = openTestRegistry({ blobs: open(), redirectSeconds: 60 });
    await registry.pushImage('a', 'latest', ['in a bucket']);
    const redirect = await registry.send('GET', `/v2/a/blobs/${digestOf('in a bucket')}`);
    expect(redirect.status).toBe(307);
    const location = redirect.headers.get('location') ?? '';
    expect(await (await fetch(location)).text()).toBe('in a bucket');
    const direct = await registry.reopen({ redirectSeconds: null });
    expect(await (await direct.send('GET', `/v2/a/blobs/${digestOf('in a bucket')}`)).text()).toBe('in a bucket');
    await direct.destroy();
  });

  test('fails as what it is when the store is away, and names no secret', async () => {
    const away = s3Blobs({
      ...{ endpoint: 'http://127.0.0.1:9/blobs', region: 'us-east-1', accessKeyId: 'key-id-xyz' },
      ...{ secretAccessKey: 'very-secret-xyz', stagingFolder: join(folder, 'staging') },
    });
    const error: unknown = await away.size(digestOf('x')).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'BLOB_STORE_UNREACHABLE', retryable: true });
    expect((error as Error).message).not.toMatch(/xyz/);
    // What could not be sent is not acknowledged, and leaves nothing behind.
    await expect(writeBlob(away, [Buffer.from('x')])).rejects.toMatchObject({ code: 'BLOB_STORE_UNREACHABLE' });
  });
});
