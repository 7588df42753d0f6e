/** Open shells in a berth that is switched, and the commands that a berth has inside: real shells on a real terminal. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import type { BerthHistory } from '../../src/environment/service.ts';
import { buildIfStale, createCliHome, isAlive, root, until, type CliHome, type RunOptions } from '../cli/cli-home.ts';
import { debianLock } from '../support/debian-root.ts';
import { testHome } from '../support/test-home.ts';

let cli: CliHome;
const env = { BERTH_SOURCE: 'debian', BERTH_STORE_ROOT: join(testHome, 'store'), BERTH_ENGINE: 'embedded' };
const berth = (args: readonly string[], options: RunOptions = {}) =>
  cli.berth(args, { ...options, env: { ...env, ...options.env } });

const before = `{ pkgs, ... }: {
  packages = [ pkgs.zsh pkgs.fish ];
  env = { GREETING = "old"; GONE = "here"; TAKEN = "from the environment"; };
  shellHook = "export HOOKED=old";
}
`;
const after = before.replaceAll('old', 'new').replace(' GONE = "here";', ' ADDED = "it\'s";');

async function project(name: string, config = before): Promise<string> {
  const folder = join(cli.home, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'config.nix'), config);
  writeFileSync(join(folder, 'next.nix'), after);
  writeFileSync(join(folder, 'berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
  expect(await berth(['up', folder])).toMatchObject({ code: 0 });
  await listening(name);
  return folder;
}

/** The daemon opens its channel a moment after the start. */
async function listening(name: string): Promise<void> {
  await until(async () => (await berth(['exec', name, '--', '/berth/bin/berth', 'history'])).code === 0);
}

beforeAll(() => {
  buildIfStale();
  cli = createCliHome();
});
afterAll(async () => {
  await berth(['rm', ...(await berth(['ps', '--quiet'])).stdout.split('\n').filter((name) => name !== '')]);
  await cli.close();
});

type Step = { readonly type: string } | { readonly await: string };

/** @returns what was shown on the terminal */
async function onTerminal(args: readonly string[], steps: readonly Step[]): Promise<string> {
  const child = spawn(
    'python3',
    [join(root, 'test/hot/terminal.py'), JSON.stringify(steps), join(root, 'bin/berth'), ...args],
    { env: { PATH: process.env.PATH, HOME: cli.home, BERTH_HOME: cli.home, TERM: 'dumb', ...env }, stdio: 'pipe' },
  );
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  await once(child, 'close');
  const { shown, missing } = JSON.parse(printed) as { shown: string; missing?: string };
  expect(missing, shown).toBeUndefined();
  return shown.replaceAll('\r', '');
}

/** One line that a shell is to run, and what it is to print. The marker tells the output from what was typed. */
const line = (text: string, shows: string): Step[] => [{ type: `${text}\n` }, { await: shows }];
const variables = 'echo "A:$GREETING:$GONE:$ADDED:$HOOKED:$TAKEN:$MINE:B"';

describe.each([
  ['bash', 'export TAKEN=mine MINE=kept PATH=/first:$PATH:/mine'],
  ['zsh', 'export TAKEN=mine MINE=kept PATH=/first:$PATH:/mine'],
  ['fish', 'set -gx TAKEN mine; set -gx MINE kept; set -gx PATH /first $PATH /mine'],
])('an open %s', (shell, changes) => {
  test('is told at its prompt, and takes the new environment when it is asked to', async () => {
    await project(`told-${shell}`);
    const path = shell === 'fish' ? 'string join : P $PATH P' : 'echo "P:${PATH}:P"';
    const shown = await onTerminal(
      ['exec', `told-${shell}`, '--', shell, '-i'],
      [
        ...line(variables, 'A:old:here::old:from the environment::B'),
        ...line(changes, ''),
        ...line('cp next.nix config.nix; /berth/bin/berth add jq; echo D:one', 'D:one'),
        { await: 'the environment has changed (+jq): `berth reload` takes it' },
        // Nothing of the shell is changed before it asks.
        ...line(variables, 'A:old:here::old:mine:kept:B'),
        ...line('berth reload', 'this shell has generation 2 now'),
        ...line(variables, "A:new::it's:new:mine:kept:B"),
        ...line(path, ':/mine:P'),
        ...line('jq -n 40+2', '42'),
        ...line('berth reload', "has the berth's environment already"),
        { type: 'exit\n' },
      ],
    );
    expect(shown).toMatch(/P:\/first:.*:\/mine:P$/m);
    // Told once.
    expect(shown.split('has changed').length - 1).toBe(1);
  });

  test('takes it by itself at the next prompt where that is wanted, and says nothing where that is', async () => {
    await project(`auto-${shell}`, before.replace('env = {', 'env = { BERTH_RELOAD = "auto";'));
    const set = shell === 'fish' ? 'set -gx BERTH_RELOAD off' : 'export BERTH_RELOAD=off';
    const shown = await onTerminal(
      ['exec', `auto-${shell}`, '--', shell, '-i'],
      [
        ...line('/berth/bin/berth add jq; echo D:one', 'D:one'),
        { await: 'this shell has generation 2 now' },
        ...line('echo "G:$BERTH_GENERATION"', 'G:2'),
        ...line(set, ''),
        ...line('/berth/bin/berth remove jq; echo D:two', 'D:two'),
        ...line('echo "G:$BERTH_GENERATION"', 'G:2'),
        // What is asked for in a shell is meant for it.
        ...line('berth rollback', 'this shell has generation 4 now'),
        { type: 'exit\n' },
      ],
    );
    expect(shown.split('has changed').length - 1).toBe(1);
  });
});

test("the shell of `berth shell` is switched too, and busybox's sh can reload", async () => {
  const folder = join(cli.home, 'of-a-shell');
  mkdirSync(folder);
  writeFileSync(join(folder, 'config.nix'), '{ pkgs, ... }: { packages = [ ]; env.GREETING = "hello"; }\n');
  writeFileSync(join(folder, 'berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
  await onTerminal(
    ['shell', folder],
    [
      ...line('until /berth/bin/berth history >/dev/null 2>&1; do sleep 0.2; done; echo L:istens', 'L:istens'),
      ...line('berth add jq', 'this shell has generation 2 now'),
      ...line('jq -n 40+2', '42'),
      ...line(
        '/berth/bin/busybox sh -c \'ENV= . /berth/etc/shellrc; BERTH_GENERATION=1 berth reload; echo "G:$BERTH_GENERATION"\'',
        'G:2',
      ),
      { type: 'exit\n' },
    ],
  );
});

describe('commands in a berth', () => {
  const inside = async (name: string, ...words: string[]) => berth(['exec', name, '--', '/berth/bin/berth', ...words]);

  test('change its own project, each of two at once, and go back', async () => {
    const folders = await Promise.all(['left', 'right'].map((name) => project(name)));
    const added = await Promise.all([inside('left', 'add', 'jq'), inside('right', 'add', 'ripgrep')]);
    expect(added).toMatchObject([
      { code: 0, stdout: '/work/config.nix: added jq\nleft is switched: generation 1 → 2 (+jq)\n' },
      { code: 0, stdout: '/work/config.nix: added ripgrep\nright is switched: generation 1 → 2 (+ripgrep)\n' },
    ]);
    expect(readFileSync(join(folders[0] ?? '', 'config.nix'), 'utf8')).toContain('pkgs.jq');
    expect(readFileSync(join(folders[1] ?? '', 'config.nix'), 'utf8')).not.toContain('pkgs.jq');
    const history = JSON.parse((await inside('left', 'history', '--json')).stdout) as BerthHistory;
    expect(history.generations[0]).toMatchObject({ number: 2, origin: 'inside', current: true });
    expect(await inside('left', 'rollback')).toMatchObject({ code: 0 });
    expect((await berth(['exec', 'left', '--', 'jq', '--version'])).code).toBe(127);
    expect((await berth(['exec', 'right', '--', 'rg', '--version'])).code).toBe(0);
  });

  test('tell errors as outside, and exit so', async () => {
    const unknown = await inside('left', 'add', 'ripgrepp');
    expect(unknown).toMatchObject({ code: 65, stdout: '' });
    expect(unknown.stderr).toContain('error[UNKNOWN_PACKAGE]');
    expect(unknown.stderr).toContain('ripgrep');
    for (const words of [['up'], ['add', '--to', '/etc', 'jq'], ['history', 'right'], ['rm', 'right']]) {
      expect(await inside('left', ...words)).toMatchObject({ code: 2, stdout: '' });
    }
  });

  test('follow no link out of the project', async () => {
    const folder = await project('linked');
    const victim = join(cli.home, 'victim.nix');
    writeFileSync(victim, before);
    rmSync(join(folder, 'config.nix'));
    symlinkSync(victim, join(folder, 'config.nix'));
    const refused = await inside('linked', 'add', 'jq');
    expect(refused.code).toBe(65);
    expect(refused.stderr).toContain('error[CONFIG_OUTSIDE]');
    expect(readFileSync(victim, 'utf8')).toBe(before);
  });

  test('are answered by the next daemon too; while there is none they say so', async () => {
    const pid = cli.daemonPid() ?? 0;
    process.kill(pid, 'SIGTERM');
    await until(() => !isAlive(pid), 15_000);
    // Looked for in its place: any command on the host would start a daemon.
    const sockets = readdirSync(join(cli.home, 'berths')).map((id) => join(cli.home, 'berths', id, 'run/host.sock'));
    await until(() => sockets.every((socket) => !existsSync(socket)));
    await berth(['ps']);
    await listening('right');
    expect(await inside('right', 'remove', 'ripgrep')).toMatchObject({ code: 0 });
    expect(await inside('right', 'rollback', '--to', '1')).toMatchObject({ code: 0 });
  });

  test('are taken in a bounded number, however often a berth asks', async () => {
    const asked = await berth([
      'exec',
      'right',
      '--',
      'sh',
      '-c',
      'for i in $(seq 30); do /berth/bin/berth history >/dev/null 2>/tmp/e || cat /tmp/e; done',
    ]);
    expect(asked.stdout).toContain('error[RATE_LIMITED]');
    expect(await berth(['history', 'right'])).toMatchObject({ code: 0 });
  });
});
