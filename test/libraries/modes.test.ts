/** The example projects in mode image: in berths with no network, and by plain `docker run`. */
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDockerServer } from '../support/docker-server.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { registryAnswers } from '../support/registry-answers.ts';

const examples = [
  { name: 'npm', registry: 'npm', test: ['npm', 'test'], onTop: 'mkdir node_modules/own && ls node_modules/own' },
  { name: 'python', registry: 'pypi', test: ['python', '-m', 'unittest'], onTop: 'pip uninstall -qy idna' },
  { name: 'cargo', registry: 'crates', test: ['cargo', 'test', '--offline'], onTop: 'touch $CARGO_HOME/crates/own' },
  { name: 'go', registry: 'go', test: ['go', 'test', './...'], onTop: 'touch $GOMODCACHE/own' },
] as const;

const answers = new Map(
  await Promise.all(examples.map(async (it) => [it.name, await registryAnswers(it.registry)] as const)),
);
const server = await startDockerServer();

let flow: Flow;
beforeAll(async () => {
  const docker = 'unavailable' in server ? {} : { BERTH_DOCKER_SOCKET: server.socketPath };
  flow = await createFlow({ variables: { BERTH_NETWORK: 'none', ...docker } });
});
afterAll(async () => {
  await flow.close();
  if (!('unavailable' in server)) await server.stop();
});

async function projectOf(name: string): Promise<string> {
  const path = await flow.project({});
  cpSync(join(repository, 'examples', name), path, { recursive: true });
  return path;
}

for (const { name, test, onTop } of examples) {
  const answer = answers.get(name);
  describe.skipIf(answer !== true)(`examples/${name} (${answer === true ? 'the registry answers' : answer})`, () => {
    it('passes its tests in mode image, with a writable layer on top', async () => {
      const path = await projectOf(name);
      const up = await flow.service.up({ path, mode: 'image' }, flow.context('image'));
      expect(up.mode).toBe('image');
      const { agentSocket } = await flow.service.get(up.name);
      expect(await runIn(agentSocket, [...test])).toMatchObject({ code: 0 });
      expect(await runIn(agentSocket, ['sh', '-c', `cd /work && ${onTop}`])).toMatchObject({ code: 0 });
    });

    // The others' compilers are some hundred megabytes to load.
    const isSmall = name === 'npm' || name === 'python';
    if (!isSmall) return;
    it.skipIf('unavailable' in server)('passes its tests by plain docker run', async () => {
      if ('unavailable' in server) return;
      const path = await projectOf(name);
      const tag = `berth-example-${name}:1`;
      await flow.images.build({ path, to: ['docker'], tag }, flow.context('build'));
      const script = `cp -r /project/* /work && ${test.join(' ')}`;
      const { status, stderr } = spawnSync(
        'docker',
        [
          ...['-H', `unix://${server.socketPath}`, 'run', '--rm', '--network', 'none'],
          ...['-v', `${path}:/project:ro`, tag, 'sh', '-c', script],
        ],
        { encoding: 'utf8' },
      );
      expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    });
  });
}
