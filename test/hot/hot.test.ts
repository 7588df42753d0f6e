/**
 * The hot path, whole: bin/berth, berth-hot, the daemon's socket, agents of real berths. That Node does not start is
 * made sure by a `node` on the PATH that fails; where the Node command is to take over, the real one is there.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import type { BerthSummary } from '../../src/environment/service.ts';
import { buildIfStale, createCliHome, root, until, type CliHome } from '../cli/cli-home.ts';
import { debianLock } from '../support/debian-root.ts';
import { testHome } from '../support/test-home.ts';

const settings = { BERTH_SOURCE: 'debian', BERTH_STORE_ROOT: join(testHome, 'store'), BERTH_ENGINE: 'embedded' };
const config = `{ ... }: {
  packages = [ ];
  env = { GREETING = "it's me"; };
  shellHook = "export HOOKED=yes";
}
`;

let cli: CliHome;
let project: string;
/** A PATH whose `node` fails with code 99. */
let noNode: string;

beforeAll(async () => {
  buildIfStale();
  cli = createCliHome();
  project = join(cli.home, 'web');
  mkdirSync(project);
  writeFileSync(join(project, 'config.nix'), config);
  writeFileSync(join(project, 'berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
  const fake = join(cli.home, 'fake');
  mkdirSync(fake);
  writeFileSync(join(fake, 'node'), '#!/bin/sh\necho "Node was started" >&2\nexit 99\n');
  chmodSync(join(fake, 'node'), 0o755);
  noNode = `${fake}:/usr/bin:/bin`;
  // Everything is a hit from here on, and the daemon runs.
  expect(await cli.berth(['up', project], { env: settings })).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await cli.berth(['rm', 'web'], { env: settings });
  await cli.close();
});

interface Result {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

type Input = Buffer | string | undefined;

/** The environment of the command; `node` fails in it unless it is let in. */
function variables(more: Readonly<Record<string, string>> = {}) {
  return { PATH: noNode, HOME: cli.home, BERTH_HOME: cli.home, NO_COLOR: '1', ...settings, ...more };
}

function collect(program: string, args: readonly string[], env: Record<string, string>, input: Input): Promise<Result> {
  const child = spawn(program, args, { cwd: project, env, stdio: 'pipe' });
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  return once(child, 'close').then(([code]) => ({ code: code as number | null, stdout: Buffer.concat(out), stderr }));
}

/** By berth-hot alone. */
const hot = (args: readonly string[], input?: Input, more?: Readonly<Record<string, string>>) =>
  collect(join(root, 'bin/berth'), args, variables(more), input);
/** By the Node command, without berth-hot. */
const node = (args: readonly string[], input?: Input) =>
  collect(
    process.execPath,
    [join(root, 'dist/cli/main.js'), ...args],
    variables({ PATH: process.env['PATH'] ?? '' }),
    input,
  );
/** As people have it. */
const either = (args: readonly string[], more: Readonly<Record<string, string>> = {}) =>
  collect(join(root, 'bin/berth'), args, variables({ PATH: process.env['PATH'] ?? '', ...more }), undefined);

const berths = async () =>
  (JSON.parse((await hot(['ps', '--json'])).stdout.toString()) as { berths: BerthSummary[] }).berths;
const withoutTimes = (text: string) =>
  text
    .replace(/"timingsMs":\{[^}]*\}/, '')
    .replace(/after [\d.]+ m?s/, '')
    .replace(/\d+ \w+ ago/, '');

describe('what berth-hot answers', () => {
  it.each([
    ['env'],
    ['env --sh .'],
    ['env --json'],
    ['up'],
    ['up --json --name web'],
    ['ps'],
    ['ps -q'],
    ['ps --json'],
  ])('is what the Node command answers: berth %s', async (line) => {
    const args = line.split(' ');
    const [mine, theirs] = [await hot(args), await node(args)];
    expect(mine).toMatchObject({ code: 0, stderr: '' });
    expect(mine.stdout.length).toBeGreaterThan(0);
    expect(withoutTimes(mine.stdout.toString())).toBe(withoutTimes(theirs.stdout.toString()));
    expect(theirs.code).toBe(0);
  });

  it.each([
    ['run', 'echo "$GREETING $HOOKED $(pwd) $#"; echo oops >&2; exit 3'],
    ['run', 'cat; kill -TERM $$'],
    ['run', 'no-such-command'],
    ['exec', 'echo "$GREETING $HOOKED $(pwd) $#"; echo oops >&2; exit 3'],
    ['exec', 'cat; kill -KILL $$'],
  ])('is what the Node command answers: berth %s … %s', async (verb, script) => {
    const args = [verb, verb === 'exec' ? 'web' : '.', '--', 'sh', '-c', script, 'sh', 'a b', ''];
    const [mine, theirs] = [await hot(args, 'input\n'), await node(args, 'input\n')];
    // The Node command tells of phases that took long; they are not the command's.
    const own = theirs.stderr.replaceAll(/^✓ .*\n/gm, '');
    expect([mine.code, mine.stdout.toString(), mine.stderr]).toEqual([theirs.code, theirs.stdout.toString(), own]);
    expect(mine.code).not.toBe(0);
  });

  it('runs what a shell reads', async () => {
    expect(await hot(['shell'], 'echo "$GREETING"; exit 4\n')).toMatchObject({
      code: 4,
      stdout: Buffer.from("it's me\n"),
    });
  });

  it('does not fail when nobody reads', () => {
    const { stderr, status } = spawnSync('sh', ['-c', `"${root}/bin/berth" env | true; echo done`], {
      ...{ cwd: project, env: variables(), encoding: 'utf8' },
    });
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe('streams', () => {
  it('pass bytes unchanged, apart from each other', async () => {
    const input = randomBytes(300_000);
    const result = await hot(['exec', 'web', '--', 'sh', '-c', 'tee /dev/stderr'], input);
    expect([result.code, result.stdout.equals(input)]).toEqual([0, true]);
    const digest = await hot(['run', '--', 'sh', '-c', 'sha256sum; echo only this >&2'], input);
    expect(digest.stdout.toString()).toContain(createHash('sha256').update(input).digest('hex'));
    expect(digest.stderr).toBe('only this\n');
  });

  it.each(['|', '<'])('pass 50 MB from and to a pipe or a file (%s)', (kind) => {
    const file = join(cli.home, 'big');
    const input = randomBytes(50_000_000);
    writeFileSync(file, input);
    const run = `"${root}/bin/berth" run -- cat`;
    const line =
      kind === '|' ? `cat ${file} | ${run} | sha256sum` : `${run} < ${file} > ${file}.out && sha256sum < ${file}.out`;
    const { stdout, stderr } = spawnSync('sh', ['-c', line], { cwd: project, env: variables(), encoding: 'utf8' });
    expect([stderr, stdout.slice(0, 64)]).toEqual(['', createHash('sha256').update(input).digest('hex')]);
    rmSync(file);
    rmSync(`${file}.out`, { force: true });
  });

  it("give a command pipes only, never the user's own files", () => {
    const file = join(cli.home, 'precious');
    writeFileSync(file, 'precious');
    const script = 'for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; echo bad > /proc/self/fd/0; cat';
    const { stdout } = spawnSync(
      'sh',
      ['-c', `"${root}/bin/berth" run -- sh -c '${script}' < ${file} 2>> ${file}.log`],
      {
        ...{ cwd: project, env: variables(), encoding: 'utf8' },
      },
    );
    expect(stdout).toMatch(/^pipe:\S+\npipe:\S+\npipe:\S+\n/);
    expect(readFileSync(file, 'utf8')).toBe('precious');
  });

  it('may be closed', () => {
    const { stdout, status } = spawnSync('sh', ['-c', `"${root}/bin/berth" run -- sh -c 'cat; echo end' <&- 2>&-`], {
      ...{ cwd: project, env: variables(), encoding: 'utf8' },
    });
    expect([status, stdout]).toEqual([0, 'end\n']);
  });
});

describe('signals', () => {
  const waiting = 'trap "echo got it; exit 7" INT TERM HUP USR1; echo up; while :; do sleep 0.05; done';

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const)(
    '%s goes to the command, which says what it means',
    async (signal) => {
      const child = spawn(join(root, 'bin/berth'), ['run', '--', 'sh', '-c', waiting], {
        cwd: project,
        env: variables(),
      });
      let stdout = '';
      child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
      await once(child.stdout, 'data');
      child.kill(signal);
      expect((await once(child, 'close'))[0]).toBe(7);
      expect(stdout).toBe('up\ngot it\n');
    },
  );

  it('leave no berth behind, not even SIGKILL', async () => {
    const child = spawn(join(root, 'bin/berth'), ['run', '--', 'sh', '-c', 'echo up; sleep 1000'], {
      cwd: project,
      env: variables(),
    });
    await once(child.stdout, 'data');
    const running = await berths();
    expect(running).toHaveLength(2);
    child.kill('SIGKILL');
    await until(async () => (await berths()).length === 1);
    // The folders that are left are this berth's, and those of containers that wait.
    const gone = running.filter(({ name }) => name.startsWith('run-')).map(({ id }) => id);
    expect(gone).toHaveLength(1);
    await until(() => !readdirSync(join(cli.home, 'berths')).some((name) => gone.includes(name)));
  });

  it('a berth that is removed meanwhile ends the command with an error', async () => {
    expect(await either(['up', '--name', 'other'])).toMatchObject({ code: 0 });
    const child = spawn(join(root, 'bin/berth'), ['exec', 'other', '--', 'sh', '-c', 'echo up; sleep 1000'], {
      cwd: project,
      env: variables(),
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    await once(child.stdout, 'data');
    const closed = once(child, 'close');
    expect(await either(['rm', 'other'])).toMatchObject({ code: 0 });
    expect((await closed)[0]).toBe(70);
    expect(stderr).toMatch(/^error\[AGENT_UNREACHABLE\]: .*\nhint: /);
  });
});

describe('a terminal', () => {
  interface Shown {
    readonly code: number;
    readonly shown: string;
    readonly asBefore: boolean;
    readonly noted: Readonly<Record<string, boolean>>;
  }
  const terminal = (steps: readonly object[], args: readonly string[]): Shown => {
    const { stdout, stderr } = spawnSync(
      'python3',
      [join(import.meta.dirname, 'terminal.py'), JSON.stringify(steps), join(root, 'bin/berth'), ...args],
      { cwd: project, env: variables({ TERM: 'xterm-256color' }), encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    return JSON.parse(stdout) as Shown;
  };

  it("is the berth's own, of the user's size, and follows it; the user's is as before at the end", () => {
    const script = 'stty size; read line; stty size; echo "$TERM $line"; tty; exit 5';
    const result = terminal(
      [{ await: '33 91\r\n' }, { settings: 'within' }, { size: [44, 101] }, { type: 'typed\r' }],
      ['run', '--', 'sh', '-c', script],
    );
    expect(result).toMatchObject({ code: 5, asBefore: true, noted: { within: false } });
    // What is typed is shown once, by the berth's terminal.
    expect(result.shown).toMatch(/^33 91\r\ntyped\r\n44 101\r\nxterm-256color typed\r\n\/dev\/pts\/\d+\r\n$/);
  });

  it('sends Ctrl-C to the command', () => {
    const script = 'trap "echo got it; exit 9" INT; echo up; while :; do sleep 0.05; done';
    const result = terminal([{ await: 'up' }, { type: '\u0003' }], ['exec', 'web', '--', 'sh', '-c', script]);
    expect(result).toMatchObject({ code: 9, asBefore: true });
    expect(result.shown).toContain('got it');
  });

  it('opens a shell', () => {
    const result = terminal([{ type: 'echo "<$GREETING $HOOKED>"; exit 6\r' }], ['shell']);
    expect(result).toMatchObject({ code: 6, asBefore: true });
    expect(result.shown).toContain("<it's me yes>");
  });

  it('is given back when the berth goes', async () => {
    expect(await either(['up', '--name', 'other'])).toMatchObject({ code: 0 });
    const running = collect(
      'python3',
      [
        join(import.meta.dirname, 'terminal.py'),
        JSON.stringify([{ await: 'up' }]),
        ...[join(root, 'bin/berth'), 'exec', 'other', '--', 'sh', '-c', 'echo up; touch /work/is-up; sleep 1000'],
      ],
      variables(),
      undefined,
    );
    await until(() => statSync(join(project, 'is-up'), { throwIfNoEntry: false }) !== undefined);
    expect(await either(['rm', 'other'])).toMatchObject({ code: 0 });
    const result = JSON.parse((await running).stdout.toString()) as Shown;
    expect(result).toMatchObject({ code: 70, asBefore: true });
    rmSync(join(project, 'is-up'));
  });

  it("is not handed on where only one of the user's streams is one", () => {
    const result = terminal([], ['run', '--', 'sh', '-c', 'readlink /proc/self/fd/1; test -t 2 || echo none; exit 2']);
    expect(result.shown).toMatch(/^\/dev\/pts\/\d+\r\n$/);
    const line = `"${root}/bin/berth" run -- sh -c 'readlink /proc/self/fd/0 /proc/self/fd/2; test -t 2 || echo none >&2' | cat`;
    const piped = spawnSync('python3', [join(import.meta.dirname, 'terminal.py'), '[]', 'sh', '-c', line], {
      cwd: project,
      env: variables(),
      encoding: 'utf8',
    });
    expect((JSON.parse(piped.stdout) as Shown).shown.split('\r\n').sort()).toEqual([
      '',
      'none',
      expect.stringMatching(/^pipe:/),
      expect.stringMatching(/^pipe:/),
    ]);
  });
});

describe('the Node command takes over', () => {
  it.each([
    ['for an unknown berth', ['exec', 'nobody', '--', 'true'], 'BERTH_UNKNOWN'],
    ['for an unknown flag', ['env', '--nonsense'], 'USAGE'],
    ['for a folder without a config', ['env', '/usr/share'], 'CONFIG_NOT_FOUND'],
  ])('%s', async (_, args, code) => {
    expect(await hot(args)).toMatchObject({ code: 99, stderr: 'Node was started\n' });
    const [mine, theirs] = [await either(args), await node(args)];
    expect(mine.stderr).toContain(code);
    expect(mine).toEqual(theirs);
  });

  it('for other settings, and starts the daemon anew', async () => {
    const pid = cli.daemonPid();
    expect(await either(['env'], { BERTH_LIMITS_PIDS: '100' })).toMatchObject({ code: 0 });
    expect(cli.daemonPid()).not.toBe(pid);
    expect(await hot(['env'], undefined, { BERTH_LIMITS_PIDS: '100' })).toMatchObject({ code: 0 });
    expect(await either(['env'])).toMatchObject({ code: 0 });
    expect(await hot(['env'])).toMatchObject({ code: 0 });
  });

  it('for an edited config, which is a hit from then on', async () => {
    writeFileSync(join(project, 'config.nix'), config.replace("it's me", 'changed'));
    expect(await hot(['env'])).toMatchObject({ code: 99 });
    const [mine] = [await either(['env'])];
    expect(mine.stdout.toString()).toContain('changed');
    expect(await hot(['env'])).toMatchObject({ code: 0, stdout: mine.stdout });
    writeFileSync(join(project, 'config.nix'), config);
    expect(await hot(['env'])).toMatchObject({ code: 0 });
  });

  it('for a lock that was edited, one that is damaged, and a variable that the config reads', async () => {
    const lock = readFileSync(join(project, 'berth.lock'), 'utf8');
    writeFileSync(join(project, 'berth.lock'), '{');
    expect(await hot(['env'])).toMatchObject({ code: 99 });
    writeFileSync(join(project, 'berth.lock'), lock);
    const reading = join(project, 'reading');
    mkdirSync(reading);
    writeFileSync(join(reading, 'config.nix'), '{ ... }: { packages = [ ]; env.SEEN = builtins.getEnv "TOLD"; }');
    writeFileSync(join(reading, 'berth.lock'), lock);
    const pass = { BERTH_EVALUATION_PASS_ENV: 'OTHER, TOLD' };
    expect(await either(['env', reading], { ...pass, TOLD: 'one' })).toMatchObject({ code: 0 });
    expect((await hot(['env', reading], undefined, { ...pass, TOLD: 'one' })).stdout.toString()).toContain('SEEN=one');
    expect(await hot(['env', reading], undefined, { ...pass, TOLD: 'two' })).toMatchObject({ code: 99 });
    expect(await either(['env'])).toMatchObject({ code: 0 });
  });

  it('where no daemon runs, and starts it', async () => {
    const pid = cli.daemonPid();
    process.kill(pid!, 'SIGTERM');
    await until(() => cli.daemonPid() === undefined);
    expect(await hot(['ps'])).toMatchObject({ code: 99 });
    expect(await either(['ps', '-q'])).toMatchObject({ code: 0, stdout: Buffer.from('web\n') });
    expect(await hot(['ps', '-q'])).toMatchObject({ code: 0, stdout: Buffer.from('web\n') });
  });
});

describe('the socket', () => {
  const socketPath = () => join(cli.home, 'run/hot.sock');

  it("is its owner's only", () => {
    expect(statSync(socketPath()).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(socketPath())).mode & 0o777).toBe(0o700);
  });

  it('outlives all that is said to it', async () => {
    const pid = cli.daemonPid();
    for (let round = 0; round < 20; round += 1) {
      const socket = connect(socketPath());
      socket.on('error', () => undefined).resume();
      socket.write(
        round % 2 === 0
          ? Buffer.concat([randomBytes(4), Buffer.from([0xff]), randomBytes(5000)])
          : Buffer.concat([Buffer.from('Q\x20\0\0\0'), randomBytes(32)]),
      );
      await once(socket, 'close');
    }
    expect(await hot(['ps', '-q'])).toMatchObject({ code: 0, stdout: Buffer.from('web\n') });
    expect(cli.daemonPid()).toBe(pid);
  });

  it('holds the daemon while a command runs, and lets it go afterwards', async () => {
    const child = spawn(join(root, 'bin/berth'), ['run', '--', 'sh', '-c', 'echo up; cat'], {
      cwd: project,
      env: variables(),
    });
    await once(child.stdout, 'data');
    const inFlight = async () => ((await cli.get('/v1/daemon')).body as { inFlight: number }).inFlight;
    expect(await inFlight()).toBe(1);
    child.stdin.end();
    await once(child, 'close');
    await until(async () => (await inFlight()) === 0);
  });
});
