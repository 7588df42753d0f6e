/** berth-hot looks for the daemon's socket where the settings say that it is: it reads the variables by itself. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { locationsOf, readSettings } from '../../src/daemon/settings.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const isRoot = process.getuid?.() === 0;
let folder: string;
let program: string;

beforeAll(() => {
  folder = mkdtempSync('/tmp/berth-places-');
  program = join(folder, 'berth-hot');
  copyFileSync(join(nativeDirectory, 'berth-hot'), program);
  // Another user runs it.
  for (const path of [folder, program]) chmodSync(path, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** @returns the socket that it tries, or undefined where it tries none */
function tried(root: boolean, variables: Readonly<Record<string, string>>): string | undefined {
  const trace = join(folder, 'trace');
  const as = isRoot && !root ? ['setpriv', '--reuid', '65534', '--clear-groups'] : [];
  const env = [
    'env',
    '-i',
    'BERTH_ROOT=/nowhere',
    'PATH=/nowhere',
    ...Object.entries(variables).map((pair) => pair.join('=')),
  ];
  spawnSync('strace', ['-o', trace, '-e', 'trace=openat', ...as, ...env, program, 'ps']);
  return /"([^"]*hot\.sock)"/.exec(readFileSync(trace, 'utf8'))?.[1];
}

describe('the place of the hot socket', () => {
  const cases: [boolean, Readonly<Record<string, string>>][] = [
    [true, {}],
    [true, { XDG_RUNTIME_DIR: '/nowhere/r' }],
    [true, { BERTH_HOME: '/nowhere/a' }],
    [true, { BERTH_HOME: '/nowhere/a', BERTH_SOCKET_DIRECTORY: '/nowhere/b' }],
    [false, { HOME: '/nowhere/h' }],
    [false, { HOME: '/nowhere/h', BERTH_HOME: '', BERTH_SOCKET_DIRECTORY: '' }],
    [false, { HOME: '/nowhere/h', XDG_DATA_HOME: '/nowhere/d' }],
    [false, { HOME: '/nowhere/h', XDG_DATA_HOME: '/nowhere/d', XDG_RUNTIME_DIR: '/nowhere/r' }],
    [false, { HOME: '/nowhere/h', XDG_DATA_HOME: '/nowhere/d', XDG_RUNTIME_DIR: '' }],
  ];
  // An ordinary user can't find out where root's would be.
  it.each(cases.filter(([root]) => isRoot || !root))('is the same to both (root: %s, %j)', (root, env) => {
    expect(tried(root, env)).toBe(locationsOf(readSettings({ root, env, readFile: () => undefined })).hotSocket);
  });

  it('is not looked for in a relative folder, which is an error', () => {
    expect(tried(isRoot, { HOME: '/nowhere', BERTH_HOME: 'here' })).toBeUndefined();
  });
});
