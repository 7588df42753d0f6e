/** Mode image on a Docker server of the test's own: the same commands give the same as in mode shell, and by plain Docker. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startDockerServer } from '../support/docker-server.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { until } from '../support/until.ts';

const config = `{ pkgs, ... }: {
  packages = [ pkgs.python3 pkgs.jq pkgs.ripgrep ];
  env = { GREETING = "hello 'world' \${"$"}HOME"; EMPTY = ""; };
  shellHook = ''
    export FROM_HOOK="$GREETING hooked"
  '';
}`;

/** Run in mode shell, in mode image and by plain \`docker run\`; output and exit code must be the same. */
const commands: readonly (readonly string[])[] = [
  ['python3', '-c', 'import sys, ssl, sqlite3; print(sys.version, ssl.OPENSSL_VERSION)'],
  ['sh', '-c', 'echo "$GREETING|$FROM_HOOK|$EMPTY|$PATH|$HOME|$USER"'],
  ['jq', '-n', '{"a": 1}'],
  ['rg', '--version'],
  ['sh', '-c', 'echo out; echo err >&2; exit 7'],
  ['sh', '-c', 'kill -TERM $$'],
  ['no-such-program'],
  ['pwd'],
  ['sh', '-c', 'id; cat /etc/passwd; ls -l /usr /bin /lib64; ls /etc | grep -v -e mtab -e hostname -e resolv.conf'],
  ['bash', '-c', 'printf "%s|" "$@"', 'bash', 'a b', '', '$HOME', '"'],
  ['/work/script'],
  [
    'sh',
    '-c',
    'stat -c "%a %U %n" /tmp /root /work /nix/store /run/berth/fhs/usr/bin/env; readlink -f /usr/bin/python3',
  ],
];

const server = await startDockerServer();

describe.skipIf('unavailable' in server)('mode image on Docker', () => {
  if ('unavailable' in server) return;
  let flow: Flow;
  let project: string;
  const docker = (...args: string[]) =>
    execFileSync('docker', ['-H', `unix://${server.socketPath}`, ...args], { encoding: 'utf8', stdio: 'pipe' });
  const dockerRun = (...args: string[]) => {
    const all = ['-H', `unix://${server.socketPath}`, 'run', '--rm', '--network', 'none', ...args];
    const { status, stdout, stderr } = spawnSync('docker', all, { encoding: 'utf8' });
    return { code: status, stdout, stderr };
  };

  beforeAll(async () => {
    flow = await createFlow({
      variables: { BERTH_ENGINE: 'docker', BERTH_DOCKER_SOCKET: server.socketPath, BERTH_NETWORK: 'none' },
    });
    project = await flow.project({ 'config.nix': config });
    writeFileSync(join(project, 'script'), '#!/usr/bin/env python3\nprint("script", 1 + 1)\n', { mode: 0o755 });
  });
  afterAll(async () => {
    await flow.close();
    await server.stop();
  });

  test('runs the same commands as mode shell, in a berth and by docker run', async () => {
    const shell = await flow.service.up({ path: project, name: 'in-shell', mode: 'shell' }, flow.context('shell'));
    const image = await flow.service.up({ path: project, name: 'in-image', mode: 'image' }, flow.context('image'));
    expect(shell).toMatchObject({ mode: 'shell', imageDigest: null, cache: { image: 'none' } });
    expect(image).toMatchObject({ mode: 'image', cache: { image: 'miss' } });
    expect(image.imageDigest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect((await flow.service.get('in-image')).mode).toBe('image');

    const built = await flow.images.build({ path: project, to: ['docker'], tag: 'compared:1' }, flow.context('build'));
    expect(built).toMatchObject({
      imageDigest: image.imageDigest,
      cache: { image: 'hit' },
      written: [{ reference: 'compared:1', movedLayers: 0, movedBytes: 0 }],
    });
    const agents = await Promise.all(
      ['in-shell', 'in-image'].map(async (name) => (await flow.service.get(name)).agentSocket),
    );
    for (const argv of commands) {
      const [inShell, inImage] = await Promise.all(agents.map((agent) => runIn(agent, argv)));
      expect(inImage, argv.join(' ')).toEqual(inShell);
      const plain = dockerRun('-v', `${project}:/work`, 'compared:1', ...argv);
      // An agent tells of a signal as such; a container has only its exit code.
      expect(plain, argv.join(' ')).toEqual({ ...inShell, code: inShell?.code ?? 128 + 15 });
    }
  });

  test('keeps a berth from an image until the closure changes', async () => {
    const first = await flow.service.up({ path: project, name: 'kept', mode: 'image' }, flow.context('kept'));
    writeFileSync(join(project, 'config.nix'), `# a comment\n${config}`);
    const same = await flow.service.up({ path: project, name: 'kept', mode: 'image' }, flow.context('kept'));
    expect(same).toMatchObject({
      id: first.id,
      imageDigest: first.imageDigest,
      cache: { environment: 'miss', image: 'hit' },
    });
    writeFileSync(join(project, 'config.nix'), config.replace('pkgs.jq', 'pkgs.jq pkgs.file'));
    const other = await flow.service.up({ path: project, name: 'kept', mode: 'image' }, flow.context('kept'));
    expect(other.imageDigest).not.toBe(first.imageDigest);
    expect(other.cache.image).toBe('miss');
    expect((await runIn((await flow.service.get('kept')).agentSocket, ['file', '--version'])).code).toBe(0);
    writeFileSync(join(project, 'config.nix'), config);
    await flow.service.stop('kept', 1000);
    await flow.service.start('kept', flow.context('start'));
    expect((await runIn((await flow.service.get('kept')).agentSocket, ['file', '--version'])).code).toBe(0);
    await flow.service.remove('kept');
  });

  test('loads only what the server lacks', async () => {
    const other = await flow.project({ 'config.nix': config.replace('hello', 'good day') });
    const { written, platforms } = await flow.images.build({ path: other, to: ['docker'] }, flow.context('lacks'));
    expect(written[0]?.how).toMatch(/^pulled from 127\.0\.0\.1/);
    expect(written[0]?.movedLayers).toBeGreaterThan(0);
    expect(written[0]?.keptLayers).toBeGreaterThan((platforms[0]?.layers ?? 0) - 4);
  });

  test('runs a command by plain docker run with its signals, terminal, user and variables', async () => {
    await flow.images.build({ path: project, to: ['docker'], tag: 'plain:1' }, flow.context('plain'));
    // A signal to the container is one to the command.
    const name = 'signalled';
    const child = spawn('docker', [
      ...['-H', `unix://${server.socketPath}`, 'run', '--rm', '--network', 'none', '--name', name, 'plain:1'],
      ...['sh', '-c', 'trap "echo got; exit 5" USR1; echo up; while :; do sleep 0.05; done'],
    ]);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until(() => said.includes('up'));
    docker('kill', '--signal', 'USR1', name);
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(5);
    expect(said).toBe('up\ngot\n');

    expect(dockerRun('-e', 'GREETING=other', 'plain:1', 'sh', '-c', 'echo $GREETING').stdout).toBe('other\n');
    expect(
      dockerRun('--user', '65534', '--read-only', 'plain:1', 'sh', '-c', 'id -u; wc -l < /etc/passwd').stdout,
    ).toMatch(/^65534\n[1-9]/);
    expect(dockerRun('-w', '/tmp', 'plain:1', 'pwd').stdout).toBe('/tmp\n');
    // Without a command: a shell, which reads its commands.
    const input = 'echo "$FROM_HOOK"; exit 3\n';
    const all = ['-H', `unix://${server.socketPath}`, 'run', '--rm', '-i', '--network', 'none', 'plain:1'];
    expect(spawnSync('docker', all, { input, encoding: 'utf8' })).toMatchObject({
      status: 3,
      stdout: expect.stringContaining('hooked\n') as string,
    });
    // With a terminal, which \`script\` gives: an interactive one that Ctrl-C does not end.
    const typed = spawnSync(
      'script',
      ['-qec', `docker -H unix://${server.socketPath} run --rm -it --network none plain:1`, '/dev/null'],
      { input: 'test -t 0 && echo "it is $FROM_HOOK"\nexit 4\n', encoding: 'utf8' },
    );
    expect(typed.stdout).toContain("it is hello 'world'");
    expect(typed.status).toBe(4);
    // Another init before it.
    expect(dockerRun('--init', 'plain:1', 'sh', '-c', 'echo $FROM_HOOK; exit 6').code).toBe(6);
    // Orphans are reaped.
    const orphans =
      'for i in 1 2 3; do (sleep 0.05 &) ; done; sleep 0.5; grep -l "^State:.Z" /proc/[0-9]*/status | wc -l';
    expect(dockerRun('plain:1', 'sh', '-c', orphans).stdout.trim()).toBe('0');
  });

  test('runs the config’s command when it is told none', async () => {
    const other = await flow.project({
      'config.nix':
        '{ pkgs, ... }: { packages = [ pkgs.jq ]; command = [ "sh" "-c" "echo from config; exit 9" ]; ports = [ 8099 ]; }',
    });
    await flow.images.build({ path: other, to: ['docker'], tag: 'command:1' }, flow.context('command'));
    expect(dockerRun('command:1')).toEqual({ code: 9, stdout: 'from config\n', stderr: '' });
    const { Config } = (JSON.parse(docker('inspect', 'command:1')) as { Config: Record<string, unknown> }[])[0] ?? {};
    expect(Config).toMatchObject({ ExposedPorts: { '8099/tcp': {} }, WorkingDir: '/work' });
    const up = await flow.service.up({ path: other, name: 'logged', mode: 'image', ports: [] }, flow.context('logged'));
    const log = join((await flow.service.get(up.name)).agentSocket, '../log');
    await until(() => existsSync(log) && readFileSync(log, 'utf8') === 'from config\n');
  });

  test('chooses by what the server sees, and says why', async () => {
    const seen = await flow.service.up({ path: project, name: 'auto', mode: 'auto' }, flow.context('auto'));
    expect(seen).toMatchObject({
      mode: 'shell',
      modeReason: 'the Docker server sees the store, so the store is mounted',
    });
    expect(flow.events).toContainEqual(
      expect.objectContaining({ type: 'mode.chosen', subject: 'auto', mode: 'shell', reason: seen.modeReason }),
    );
    await flow.service.remove('auto');
  });

  test('refuses Nix in a container from an image', async () => {
    await expect(
      flow.service.up({ path: project, name: 'nix', mode: 'image', withNix: true }, flow.context('nix')),
    ).rejects.toMatchObject({ code: 'MODE_UNSUPPORTED' });
  });
});
