/** The embedded engine as an ordinary user with no rights at all: a real one, of a number that nobody else has. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nativeDirectory } from '../support/native-directory.ts';

const uid = 54321;
const isRoot = process.getuid?.() === 0;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-rootless-'));
  if (isRoot) chownSync(directory, uid, uid);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('embedded engine without root', () => {
  for (const network of ['none', 'host']) {
    it(`runs, stops, starts and removes a berth with network ${network}`, ({ skip }) => {
      const bundle = join(directory, 'driver.mjs');
      const esbuild = join(import.meta.dirname, '../../node_modules/.bin/esbuild');
      const source = join(import.meta.dirname, 'rootless-driver.ts');
      execFileSync(esbuild, [source, '--bundle', '--platform=node', '--format=esm', `--outfile=${bundle}`], {
        stdio: 'pipe',
      });
      const user = isRoot ? { uid, gid: uid } : {};
      const result = spawnSync(process.execPath, [bundle, directory, nativeDirectory, network], {
        ...user,
        cwd: directory,
        encoding: 'utf8',
        env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: directory },
        timeout: 60_000,
      });
      expect(result.stderr).toBe('');
      const told = JSON.parse(result.stdout) as Told;
      if (
        !told.availability.available &&
        /user namespace|clone|unshare|EPERM|Operation not permitted/i.test(told.availability.reason)
      ) {
        skip(`no user namespaces for ordinary users here: ${told.availability.reason}`);
      }
      expect(told.availability.reason).toMatch(/as an ordinary user, no limits/);
      expect(told.first).toEqual({ stdout: 'hello\n0\n', exit: { code: 0 } });
      expect(told.terminal.stdout).toBe('25 81\r\n');
      expect(told.interfaces.stdout.split('\n')).toContain('lo');
      expect(told.stopped).toEqual({ state: 'stopped', exitCode: null });
      expect(told.again.stdout).toBe('/root/shut\n');
      expect(told.limits).toBe('LIMIT_REFUSED');
      expect(told.fromImage).toBe('image/opt:\n\n/srv:\n0\nkept\n');
      expect(told.gone).toEqual({ state: 'gone' });
      expect(statSync(join(directory, 'work/made')).uid).toBe(isRoot ? uid : process.getuid?.());
      expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(directory);
    });
  }
});

interface Told {
  readonly availability: { readonly available: boolean; readonly reason: string };
  readonly first: unknown;
  readonly fromImage: string;
  readonly terminal: { readonly stdout: string };
  readonly interfaces: { readonly stdout: string };
  readonly stopped: unknown;
  readonly again: { readonly stdout: string };
  readonly limits: string;
  readonly gone: unknown;
}
