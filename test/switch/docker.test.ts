/** The switch of a container of engine docker, and what its commands ask of the daemon. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { EventBus } from '../../src/core/events.ts';
import { createChannels } from '../../src/daemon/inside/channels.ts';
import { startDockerServer } from '../support/docker-server.ts';
import { createFlow, runIn } from '../support/flow.ts';
import { until } from '../support/until.ts';

const server = await startDockerServer();

describe('on engine docker', () => {
  if ('unavailable' in server) {
    test('a berth is switched', ({ skip }) => skip(server.unavailable));
    return;
  }
  afterAll(() => server.stop());

  test('a berth is switched without a restart, from outside and from inside', async () => {
    const variables = { BERTH_ENGINE: 'docker', BERTH_DOCKER_SOCKET: server.socketPath };
    const flow = await createFlow({ variables });
    const bus = new EventBus();
    const activity = {
      inFlight: 0,
      begin: () => () => undefined,
      idleForMs: () => 0,
      whenIdle: () => Promise.resolve(),
    };
    let channels: ReturnType<typeof createChannels> | undefined;
    try {
      const project = await flow.project({ 'config.nix': '{ pkgs, ... }: { packages = [ ]; }\n' });
      const { id, name } = await flow.service.up({ path: project }, flow.context('docker'));
      const { agentSocket } = await flow.service.get(name);
      writeFileSync(join(project, 'config.nix'), '{ pkgs, ... }: { packages = [ pkgs.jq ]; }\n');
      const second = await flow.service.up({ path: project }, flow.context('docker'));
      expect(second).toMatchObject({ id, generation: 2, switched: { replaced: false } });
      expect((await runIn(agentSocket, ['jq', '-n', '40+2'])).stdout).toBe('42\n');

      channels = createChannels({ service: flow.service, bus, activity, onError: () => undefined });
      const inside = (...words: string[]) => runIn(agentSocket, ['/berth/bin/berth', ...words]);
      await until(async () => (await inside('history')).code === 0);
      expect(await inside('rollback')).toMatchObject({ code: 0 });
      expect((await runIn(agentSocket, ['jq', '-n', '40+2'])).code).toBe(127);
      expect(await inside('add', 'ripgrep')).toMatchObject({ code: 0 });
      expect((await runIn(agentSocket, ['rg', '--version'])).code).toBe(0);
    } finally {
      channels?.close();
      await flow.close();
    }
  });
});
