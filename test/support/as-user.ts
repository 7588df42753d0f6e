/** Runs a script of TypeScript as an ordinary user, in a home of its own, as Berth would run for that user. */
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { exec, type ExecResult } from '../../src/core/exec.ts';
import { removeStore, repository } from './nixpkgs-fixture.ts';

// No account has it: what runs as it owns nothing but its home.
const uid = 64_321;

export interface UserScript {
  /** The user's home. */
  readonly home: string;
  run(...args: string[]): Promise<ExecResult>;
  /** Runs it as this user, by a command that takes `node script args…` after its own words. */
  runBy(
    command: readonly string[],
    environment: Readonly<Record<string, string>>,
    ...args: string[]
  ): Promise<ExecResult>;
  close(): void;
}

/** @param file the script, absolute; bundled so that the user needs nothing of the checkout but node_modules */
export async function asUser(file: string): Promise<UserScript> {
  const root = mkdtempSync(join(tmpdir(), 'berth-user-'));
  const home = join(root, 'home');
  mkdirSync(home);
  execFileSync('chmod', ['755', root]);
  chownSync(home, uid, uid);
  const script = join(root, 'script.cjs');
  await build({
    entryPoints: [file],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['libsql'],
  });
  const id = String(uid);
  const start = (
    [program = '', ...words]: readonly string[],
    environment: Readonly<Record<string, string>>,
    args: string[],
  ) =>
    exec(program, [...words, process.execPath, script, ...args], {
      cwd: home,
      env: { PATH: process.env['PATH'] ?? '', HOME: home, NODE_PATH: join(repository, 'node_modules'), ...environment },
      timeoutMs: 240_000,
    });
  return {
    home,
    run: (...args) =>
      start(['setpriv', '--reuid', id, '--regid', id, '--clear-groups', '--no-new-privs', '--'], {}, args),
    runBy: (command, environment, ...args) => start(command, environment, args),
    close() {
      removeStore(home);
      rmSync(root, { recursive: true, force: true });
    },
  };
}
