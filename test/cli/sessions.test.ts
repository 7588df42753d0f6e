/** Commands in berths, through the command and a real daemon: streams, exit codes, signals, terminals, berths' lives. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import type { BerthSummary } from '../../src/environment/service.ts';
import { debianLock } from '../support/debian-root.ts';
import { testHome } from '../support/test-home.ts';
import { buildIfStale, createCliHome, firstOutput, root, until, type CliHome, type RunOptions } from './cli-home.ts';

let cli: CliHome;
let project: string;
const env = { BERTH_SOURCE: 'debian', BERTH_STORE_ROOT: join(testHome, 'store'), BERTH_ENGINE: 'embedded' };

const config = `{ ... }: {
  packages = [ ];
  env = { GREETING = "it's me"; };
  shellHook = "export HOOKED=yes";
  command = [ "sh" "-c" "echo started; echo failed >&2; exec sleep 1000" ];
}
`;

beforeAll(async () => {
  buildIfStale();
  cli = createCliHome();
  project = join(cli.home, 'web');
  mkdirSync(project);
  writeFileSync(join(project, 'config.nix'), config);
  writeFileSync(join(project, 'berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
});
afterAll(() => cli.close());

const berth = (args: readonly string[], options: RunOptions = {}) =>
  cli.berth(args, { cwd: project, ...options, env: { ...env, ...options.env } });
const list = async () => (JSON.parse((await berth(['ps', '--json'])).stdout) as { berths: BerthSummary[] }).berths;

describe('berth run', () => {
  it('gives the command its own streams, the variables and the hook, and exits as it does', async () => {
    const script = 'read line; echo "$GREETING $HOOKED $line"; echo oops >&2; exit 3';
    const outcome = await berth(['run', '--', 'sh', '-c', script], { input: 'in\n' });
    expect(outcome).toMatchObject({ code: 3, stdout: "it's me yes in\n" });
    expect(outcome.stderr).toMatch(/(^|\n)oops\n$/);
  });

  it('prints one object with --json', async () => {
    const outcome = await berth(['run', '--json', '.', '--', 'sh', '-c', 'echo out; echo err >&2; exit 5']);
    expect(outcome.code).toBe(5);
    expect(JSON.parse(outcome.stdout)).toMatchObject({
      exitCode: 5,
      stdout: 'out\n',
      stderr: 'err\n',
      cache: { environment: 'hit', build: 'hit', image: 'none' },
    });
  });

  it('never loses the end of a command that is quick', async () => {
    for (let round = 0; round < 15; round += 1) {
      expect(await berth(['run', '--json', '--', 'sh', '-c', 'echo out; exit 5'])).toMatchObject({ code: 5 });
    }
  });

  it('passes megabytes through, unchanged', async () => {
    const input = 'x'.repeat(3_000_000);
    const { code, stdout } = await berth(['run', '--', 'cat'], { input });
    expect([code, stdout === input]).toEqual([0, true]);
  });

  it('passes signals on to the command, which says what they mean', async () => {
    const script = 'trap "echo got it; exit 7" TERM; echo up; while :; do sleep 0.1; done';
    const running = cli.start(['run', '--', 'sh', '-c', script], { cwd: project, env });
    await firstOutput(running);
    running.child.kill('SIGTERM');
    expect(await running.outcome).toMatchObject({ code: 7, stdout: 'up\ngot it\n' });
  });

  it('exits as a shell does for a command that is not there', async () => {
    const outcome = await berth(['run', '--', 'no-such-command']);
    expect([outcome.code, outcome.stdout]).toEqual([127, '']);
    expect(outcome.stderr).toContain('no-such-command');
  });

  it('leaves no berth behind, not even when it is killed', async () => {
    await berth(['run', '--', 'true']);
    const running = cli.start(['run', '--', 'sh', '-c', 'echo up; sleep 1000'], { cwd: project, env });
    await firstOutput(running);
    expect((await list()).length).toBeGreaterThan(0);
    // The whole group: bin/berth has become the program itself, so that this is it.
    running.child.kill('SIGKILL');
    await running.outcome;
    await until(async () => (await list()).length === 0);
  });
});

describe('berth shell', () => {
  it('runs what it reads where there is no terminal', async () => {
    expect(await berth(['shell'], { input: 'echo "$GREETING"; exit 4\n' })).toMatchObject({
      code: 4,
      stdout: "it's me\n",
    });
  });

  it('has a terminal of the right size where there is one', () => {
    // script(1) gives it one.
    const command = `stty cols 91 rows 33; ${join(root, 'bin/berth')} run ${project} -- sh -c 'stty size; tty'`;
    const { stdout, status } = spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: cli.home, BERTH_HOME: cli.home, TERM: 'dumb', ...env },
      input: '',
    });
    // script(1) types a NUL when its own input has ended.
    expect([status, stdout.replaceAll('^@', '')]).toEqual([0, expect.stringMatching(/33 91\r+\n\/dev\/pts\/\d+\r+\n/)]);
  });
});

describe('berth env', () => {
  it('prints lines that a shell reads back', async () => {
    const { code, stdout } = await berth(['env', '--sh']);
    expect(code).toBe(0);
    const read = execFileSync('/bin/sh', ['-c', `${stdout}\nprintf %s "$GREETING"`], { encoding: 'utf8' });
    expect(read).toBe("it's me");
  });

  it('prints all of it with --json', async () => {
    const { stdout } = await berth(['env', '--json', project]);
    expect(JSON.parse(stdout)).toMatchObject({
      environment: { variables: { GREETING: "it's me" }, digest: expect.stringMatching(/^sha256:/) as string },
      cache: { environment: 'hit' },
    });
  });
});

describe('a berth', () => {
  it('is made, listed, entered, stopped, started and removed', async () => {
    const up = await berth(['up', '--json', '--memory', '256M', '--pids', '100']);
    expect(up).toMatchObject({ code: 0 });
    expect(JSON.parse(up.stdout)).toMatchObject({
      name: 'web',
      id: expect.stringMatching(/^[0-9a-f]{12}$/) as string,
      state: 'ready',
      mode: 'shell',
      engine: 'embedded',
      imageDigest: null,
      cache: { environment: 'hit', build: 'hit', image: 'none' },
      closure: { paths: expect.any(Number) as number, bytes: expect.any(Number) as number },
      timingsMs: { total: expect.any(Number) as number },
    });
    expect(up.stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(await list()).toMatchObject([{ name: 'web', state: 'running', directory: project }]);
    expect((await berth(['ps', '--quiet'])).stdout).toBe('web\n');
    expect((await berth(['ps'])).stdout).toMatch(/^NAME .*\nweb +running +embedded /);

    const options = ['-w', '/tmp', '-e', 'EXTRA=more'];
    const inside = await berth(['exec', ...options, 'web', '--', 'sh', '-c', 'echo "$PWD $EXTRA $GREETING"; exit 2']);
    expect(inside).toMatchObject({ code: 2, stdout: "/tmp more it's me\n", stderr: '' });
    expect(await berth(['exec', 'web', 'ls', '-d', '/work'])).toMatchObject({ code: 0, stdout: '/work\n' });
    const json = await berth(['exec', '--json', 'web', '--', 'sh', '-c', 'echo err >&2']);
    expect(JSON.parse(json.stdout)).toEqual({ exitCode: 0, stdout: '', stderr: 'err\n' });

    expect((await berth(['stop', '--time', '1', 'web'])).stdout).toBe('web\n');
    expect(await list()).toMatchObject([{ name: 'web', state: 'stopped' }]);
    expect((await berth(['exec', '--json', 'web', '--', 'true'])).code).toBe(70);
    expect(await berth(['start', 'web'])).toMatchObject({ code: 0 });
    expect((await berth(['exec', 'web', '--', 'true'])).code).toBe(0);
    expect(JSON.parse((await berth(['rm', '--json', 'web'])).stdout)).toEqual({ removed: ['web'] });
    expect(await list()).toEqual([]);
  });

  it("keeps its command's output, which can be followed until Ctrl-C", async () => {
    await berth(['up']);
    await until(async () => (await berth(['logs', 'web'])).stdout.includes('failed'));
    expect((await berth(['logs', 'web'])).stdout).toBe('started\nfailed\n');
    const running = cli.start(['logs', '-f', 'web'], { cwd: project, env });
    await firstOutput(running);
    running.child.kill('SIGINT');
    expect(await running.outcome).toMatchObject({ code: 0, stdout: 'started\nfailed\n' });
    await berth(['rm', 'web']);
  });

  it('outlives the daemon, however that ends', async () => {
    await berth(['up']);
    const pid = cli.daemonPid()!;
    process.kill(pid, 'SIGKILL');
    await until(() => cli.daemonPid() === undefined);
    expect(await berth(['exec', 'web', '--', 'echo', 'still here'])).toMatchObject({ code: 0, stdout: 'still here\n' });
    expect(cli.daemonPid()).not.toBe(pid);
    await berth(['rm', 'web']);
  });
});

describe('berth explain', () => {
  it('says that nothing changed, then what did', async () => {
    await berth(['env']);
    const stages = async () =>
      (
        JSON.parse((await berth(['explain', '--json'])).stdout) as {
          stages: { stage: string; verdict: string; reason: string }[];
        }
      ).stages;
    expect((await stages()).find(({ stage }) => stage === 'trace')).toMatchObject({ verdict: 'hit' });
    writeFileSync(join(project, 'config.nix'), `# Changed.\n${config}`);
    expect((await stages()).find(({ stage }) => stage === 'trace')).toMatchObject({
      verdict: 'miss',
      reason: expect.stringContaining('config.nix') as string,
    });
    expect((await berth(['explain'])).stdout).toMatch(/trace +miss +.*config\.nix/);
  });
});
