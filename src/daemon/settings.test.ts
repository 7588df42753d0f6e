import { describe, expect, it } from 'vitest';
import { BerthError } from '../core/errors.ts';
import { locationsOf, passedVariables, readSettings, settingsDigest, settingsThatDiffer } from './settings.ts';

const env = { HOME: '/home/ada' };
const none = () => undefined;

function filesystem(files: Record<string, unknown>) {
  return (path: string) => {
    const content = files[path];
    return content === undefined || typeof content === 'string' ? content : JSON.stringify(content, null, 1);
  };
}

function errorOf(work: () => unknown): BerthError {
  try {
    work();
  } catch (error) {
    if (error instanceof BerthError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}

describe('readSettings', () => {
  const file = '/home/ada/.config/berth/settings.json';

  it('takes the flag over the variable over the file over the default', () => {
    const readFile = filesystem({ [file]: { engine: 'docker' } });
    const inFile = readSettings({ env, root: false, readFile });
    const inVariable = readSettings({ env: { ...env, BERTH_ENGINE: 'kubernetes' }, root: false, readFile });
    const inFlag = readSettings({
      env: { ...env, BERTH_ENGINE: 'kubernetes' },
      root: false,
      readFile,
      flags: { engine: 'embedded' },
    });
    expect(readSettings({ env, root: false, readFile: none }).engine).toBe('auto');
    expect([inFile.engine, inVariable.engine, inFlag.engine]).toEqual(['docker', 'kubernetes', 'embedded']);
  });

  it('takes an empty variable as one that is not set', () => {
    expect(readSettings({ env: { ...env, BERTH_SOURCE: '' }, root: false, readFile: none }).source).toBe('nixpkgs');
  });

  it('finds home and sockets for root, for a user, and for a home that is set', () => {
    const places = (input: Record<string, string>, root: boolean) => {
      const settings = readSettings({ env: input, root, readFile: none });
      return [settings.home, locationsOf(settings).socket];
    };
    expect(places(env, true)).toEqual(['/var/lib/berth', '/run/berth/daemon.sock']);
    expect(places({ ...env, XDG_RUNTIME_DIR: '/run/user/7' }, false)).toEqual([
      '/home/ada/.local/share/berth',
      '/run/user/7/berth/daemon.sock',
    ]);
    expect(places({ ...env, BERTH_HOME: '/srv/b' }, true)).toEqual(['/srv/b', '/srv/b/run/daemon.sock']);
    expect(places({ ...env, BERTH_HOME: '/srv/b', BERTH_SOCKET_DIRECTORY: '/tmp/s' }, true)[1]).toBe(
      '/tmp/s/daemon.sock',
    );
  });

  it('reads the file in the home before the personal one, and nested as well as dotted names', () => {
    const readFile = filesystem({
      '/srv/b/settings.json': { limits: { memory: '2G', pids: null }, 'build.cores': 3 },
      [file]: { 'build.cores': 9 },
    });
    const settings = readSettings({ env: { ...env, BERTH_HOME: '/srv/b' }, root: false, readFile });
    expect([settings['limits.memory'], settings['limits.pids'], settings['build.cores']]).toEqual([2 ** 31, null, 3]);
  });

  it('reads sizes, times, lists and flags of variables', () => {
    const settings = readSettings({
      env: {
        ...env,
        BERTH_LIMITS_MEMORY: '512MiB',
        BERTH_LIMITS_CPUS: '1.5',
        BERTH_LIMITS_PIDS: 'none',
        BERTH_EVALUATION_TIMEOUT_MS: '30s',
        BERTH_EVALUATION_PASS_ENV: 'STAGE, REGION',
        BERTH_ALLOW_UNFREE: '1',
      },
      root: false,
      readFile: none,
    });
    expect(settings).toMatchObject({
      'limits.memory': 512 * 2 ** 20,
      'limits.cpus': 1.5,
      'limits.pids': null,
      'evaluation.timeoutMs': 30_000,
      'evaluation.passEnv': ['STAGE', 'REGION'],
      allowUnfree: true,
    });
  });

  it('names the setting, where it came from, and what it takes, when a value is wrong', () => {
    const error = errorOf(() => readSettings({ env: { ...env, BERTH_SOURCE: 'arch' }, root: false, readFile: none }));
    expect(error.code).toBe('SETTING_INVALID');
    expect(error.message).toBe('The setting `source` (BERTH_SOURCE) has the value "arch", which is not allowed.');
    expect(error.hint).toBe('It takes nixpkgs or debian.');
  });

  it('never says a secret', () => {
    const error = errorOf(() => readSettings({ env: { ...env, BERTH_TOKEN: 'hunter2' }, root: false, readFile: none }));
    expect(JSON.stringify(error.report())).not.toContain('hunter2');
  });

  it('refuses an unknown name in the file, with the line and the nearest name', () => {
    const readFile = filesystem({ [file]: '{\n  "engine": "auto",\n  "souce": "debian"\n}' });
    const error = errorOf(() => readSettings({ env, root: false, readFile }));
    expect(error.location).toEqual({ file, line: 3 });
    expect(error.hint).toContain('`source`');
  });

  it('refuses the home in the file, which is found by it', () => {
    const error = errorOf(() => readSettings({ env, root: false, readFile: filesystem({ [file]: { home: '/x' } }) }));
    expect(error.hint).toContain('BERTH_HOME');
  });

  it('refuses a file that is not JSON, or not an object', () => {
    expect(errorOf(() => readSettings({ env, root: false, readFile: filesystem({ [file]: '{' }) })).message).toContain(
      'not valid JSON',
    );
    expect(errorOf(() => readSettings({ env, root: false, readFile: filesystem({ [file]: '[]' }) })).message).toContain(
      'JSON object',
    );
  });

  it('refuses a home that is not absolute and a folder too long for a socket', () => {
    expect(errorOf(() => readSettings({ env: { ...env, BERTH_HOME: 'x' }, root: true, readFile: none })).code).toBe(
      'SETTING_INVALID',
    );
    const long = errorOf(() =>
      readSettings({ env: { ...env, BERTH_HOME: `/${'x'.repeat(100)}` }, root: true, readFile: none }),
    );
    expect(long.hint).toContain('BERTH_SOCKET_DIRECTORY');
  });
});

describe('comparing settings', () => {
  const a = readSettings({ env, root: false, readFile: none });
  const b = readSettings({ env: { ...env, BERTH_SOURCE: 'debian' }, root: false, readFile: none });

  it('tells other settings by their digest and names them', () => {
    expect(settingsDigest(a)).toBe(settingsDigest(readSettings({ env, root: false, readFile: none })));
    expect(settingsDigest(a)).not.toBe(settingsDigest(b));
    expect(settingsThatDiffer(a, b)).toEqual(['source']);
  });
});

describe('passedVariables', () => {
  it('passes only those that are named and set', () => {
    expect(passedVariables(['A', 'C'], { A: '1', B: '2' })).toEqual({ A: '1' });
  });
});
