/** What the command prints: shapes, errors, help, completion. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { version } from '../../src/core/version.ts';
import { buildIfStale, createCliHome, root, type CliHome } from './cli-home.ts';

let cli: CliHome;
beforeAll(() => {
  buildIfStale();
  cli = createCliHome();
});
afterAll(() => cli.close());

describe('without a daemon', () => {
  afterAll(() => {
    expect(cli.daemonPid()).toBeUndefined();
  });

  it('prints the version, also through a link to bin/berth', async () => {
    expect(await cli.berth(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
    const link = join(cli.home, 'berth-link');
    symlinkSync(join(root, 'bin/berth'), link);
    expect(execFileSync(link, ['--version'], { encoding: 'utf8' })).toBe(`${version}\n`);
    expect(JSON.parse((await cli.berth(['version', '--json'])).stdout)).toMatchObject({ version });
  });

  it('prints the help when it is told nothing or asked for it', async () => {
    const nothing = await cli.berth([]);
    expect(`${nothing.stdout}${nothing.stderr}`).toContain('Usage: berth');
    const help = await cli.berth(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const { name } of commands) expect(help.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
  });

  it.each(commands.map((command) => command.name))('has help with an example for %s', async (name) => {
    const { code, stdout } = await cli.berth([name, '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples:\n  .*berth ${name}`));
  });

  it('names the nearest command', async () => {
    const { code, stdout, stderr } = await cli.berth(['exlpain']);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('error[USAGE]: There is no command `exlpain`.\nhint: Did you mean `berth explain`?');
  });

  it.each([
    ['an unknown option', ['ps', '--nonsense']],
    ['a missing argument', ['stop']],
    ['a value that is not allowed', ['up', '--engine', 'podman']],
    ['a port that is none', ['up', '-p', '70000']],
    ['a size that is none', ['up', '--memory', 'much']],
    ['no command to run', ['run', '.']],
    ['nothing after the dashes', ['exec', 'web', '--']],
  ])('refuses %s', async (_, args) => {
    const { code, stdout, stderr } = await cli.berth([...args.slice(0, 1), '--json', ...args.slice(1)]);
    expect([code, stderr]).toEqual([2, '']);
    const { error } = JSON.parse(stdout) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: 'USAGE', fault: 'user', retryable: false });
    expect(Object.keys(error).sort()).toEqual(['code', 'fault', 'hint', 'message', 'retryable']);
  });

  it('points at the line of a settings file that is wrong', async () => {
    const home = join(cli.home, 'other');
    const file = join(home, 'settings.json');
    mkdirSync(home);
    writeFileSync(file, '{\n  "engin": "docker"\n}\n');
    const { code, stderr } = await cli.berth(['ps'], { env: { BERTH_HOME: home } });
    expect(code).toBe(2);
    expect(stderr).toBe(
      [
        `error[SETTING_INVALID]: ${file} has an unknown setting \`engin\`.`,
        `  --> ${file}:2`,
        '  |',
        '2 |   "engin": "docker"',
        '  |',
        'hint: Did you mean `engine`? docs/settings.md lists all.',
        '',
      ].join('\n'),
    );
  });

  it('tells what is there and what is missing', async () => {
    const { stdout } = await cli.berth(['doctor', '--json'], {
      env: { BERTH_DEBIAN_MIRROR: 'http://127.0.0.1:1/debian' },
    });
    const report = JSON.parse(stdout) as { ok: boolean; checks: { name: string; status: string; fix?: string }[] };
    expect(typeof report.ok).toBe('boolean');
    expect(report.checks.map((check) => check.name)).toEqual(expect.arrayContaining(['nix', 'OCI runtime', 'disk']));
    const mirror = report.checks.find((check) => check.name === 'Debian mirror');
    expect(mirror).toMatchObject({ status: 'warning', fix: expect.stringContaining('BERTH_DEBIAN_MIRROR') as string });
    for (const check of report.checks) if (check.status !== 'ok') expect(check.fix).toBeTruthy();
  });
});

describe('completion', () => {
  const installed = (shell: string) => spawnSync(shell, ['--version']).error === undefined;

  it.each(['bash', 'zsh', 'fish'])('prints a script that %s can parse', async (shell) => {
    const { code, stdout } = await cli.berth(['completion', shell]);
    expect(code).toBe(0);
    for (const { name } of commands) expect(stdout).toContain(name);
    if (!installed(shell)) return;
    const file = join(cli.home, `completion.${shell}`);
    writeFileSync(file, stdout);
    const parsed = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    expect([parsed.status, parsed.stderr]).toEqual([0, '']);
  });

  it('completes commands and options in bash', async () => {
    const { stdout } = await cli.berth(['completion', 'bash']);
    const complete = (words: string[]) =>
      execFileSync(
        'bash',
        [
          '-c',
          `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})\nCOMP_CWORD=${words.length - 1}\n_berth\nprintf '%s\\n' "\${COMPREPLY[@]}"`,
        ],
        {
          encoding: 'utf8',
        },
      )
        .trim()
        .split('\n');
    expect(complete(['berth', 'ex'])).toEqual(['exec', 'explain']);
    expect(complete(['berth', 'up', '--mem'])).toEqual(['--memory']);
  });
});

describe('with a daemon', () => {
  it('says that a folder has no config, in JSON and in words', async () => {
    const empty = join(cli.home, 'empty');
    mkdirSync(empty);
    const json = await cli.berth(['up', '--json'], { cwd: empty });
    expect(json.code).toBe(66);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'CONFIG_NOT_FOUND', fault: 'user' } });
    const words = await cli.berth(['up', empty]);
    expect([words.code, words.stdout]).toEqual([66, '']);
    expect(words.stderr).toMatch(/^error\[CONFIG_NOT_FOUND\]: .*\nhint: .*\n$/);
    expect(words.stderr).not.toContain('    at ');
    expect((await cli.berth(['up', '--verbose', empty])).stderr).toContain('    at ');
  });

  it.each(['stop', 'start', 'rm', 'logs', 'exec'])('says that there is no such berth to %s', async (command) => {
    const args = command === 'exec' ? ['exec', '--json', 'gone', '--', 'true'] : [command, '--json', 'gone'];
    const { code, stdout } = await cli.berth(args);
    expect(code).toBe(66);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'BERTH_UNKNOWN' } });
  });

  it('lists nothing as nothing with --quiet', async () => {
    expect(await cli.berth(['ps', '--quiet'])).toMatchObject({ code: 0, stdout: '' });
  });
});
