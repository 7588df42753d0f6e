/** The docker engine, against a Docker server that is started for it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createDockerEngine } from '../../src/engine/docker/docker-engine.ts';
import { engineContract } from '../../src/engine/engine-contract.ts';
import { startDockerServer } from '../support/docker-server.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const server = await startDockerServer();
if ('unavailable' in server) {
  describe('docker engine', () => {
    it('meets the contract', ({ skip }) => skip(server.unavailable));
  });
} else {
  const directory = mkdtempSync(join(tmpdir(), 'berth-docker-'));
  afterAll(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const open = () =>
    createDockerEngine({
      socketPath: server.socketPath,
      stateDirectory: join(directory, 'state'),
      busybox: '/usr/bin/busybox',
      nativeDirectory,
    });
  engineContract('docker engine', () =>
    Promise.resolve({ engine: open(), directory: join(directory, 'berths'), reopen: open }),
  );
  it('says so where no server answers', async () => {
    const other = createDockerEngine({
      socketPath: join(directory, 'no.sock'),
      stateDirectory: directory,
      busybox: '/usr/bin/busybox',
      nativeDirectory,
    });
    expect(await other.available()).toMatchObject({
      available: false,
      reason: expect.stringContaining('no Docker server answers') as string,
    });
    expect(await other.list()).toEqual([]);
    await expect(other.inspect('ffffffffffff')).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
  });
}
