/** All of it as an ordinary user, with user namespaces in place of root. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { asUser, type UserScript } from '../support/as-user.ts';
import { makeNixpkgs, repository } from '../support/nixpkgs-fixture.ts';

const isRoot = process.getuid?.() === 0;
let user: UserScript;
let tree: string;

let installed: UserScript;

beforeAll(async () => {
  user = await asUser(join(import.meta.dirname, 'user-script.ts'));
  installed = await asUser(join(import.meta.dirname, 'user-script.ts'));
  tree = makeNixpkgs(join(user.home, '../tree'));
});
afterAll(() => {
  user.close();
  installed.close();
});

it('evaluates in the sandbox, builds in a store of its own, and tells the closure', async (context) => {
  context.skip(!isRoot, 'only root can become another user; the other tests run as this one already');
  const result = await user.run(join(repository, 'nix'), tree);
  expect(result.stderr).toBe('');
  expect(JSON.parse(result.stdout)).toMatchObject({
    uid: 64_321,
    paths: [expect.stringMatching(/-environment$/)],
    trace: 2,
    unstable: false,
    hasHello: true,
  });
  // Nothing is left running: what has ended and waits for init to see it does not count.
  const processes = execFileSync('ps', ['-eo', 'uid=,stat=,args='], { encoding: 'utf8' });
  expect(processes.split('\n').filter((line) => /^\s*64321\s+[^Z]/.test(line))).toEqual([]);
});

it("works with a Nix that is installed in the host's own /nix, as on NixOS", async (context) => {
  context.skip(!isRoot, 'only root can mount a /nix of its own');
  // A store that has wrappers of the real programs, mounted at /nix for this test alone.
  const wrappers = join(installed.home, '../nix-1.0');
  mkdirSync(join(wrappers, 'bin'), { recursive: true });
  for (const name of ['nix', 'nix-store', 'nix-instantiate', 'nix-daemon']) {
    writeFileSync(join(wrappers, 'bin', name), `#!/bin/sh\nexec /usr/bin/${name} "$@"\n`, { mode: 0o755 });
  }
  const script = `set -e
    mount -t tmpfs tmpfs /nix
    export NIX_CONFIG="build-users-group ="
    path=$(nix-store --add ${wrappers})
    export PATH=$path/bin:$PATH
    unset NIX_CONFIG
    exec "$@"`;
  const command = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
  if (!existsSync('/nix')) context.skip(true, 'there is no /nix to mount over');
  const result = await installed.runBy(command, {}, join(repository, 'nix'), tree);
  expect(result.stderr).toBe('');
  expect(JSON.parse(result.stdout)).toMatchObject({ uid: 0, hasHello: true, unstable: false });
  expect(readdirSync(join(installed.home, 'store/nix/store')).some((name) => name.endsWith('-nix-1.0'))).toBe(true);
});

it("uses the host's own store when told to, by the host's nix.conf", async (context) => {
  context.skip(!isRoot, 'only root can mount a /nix of its own');
  if (!existsSync('/nix')) context.skip(true, 'there is no /nix to mount over');
  const host = await asUser(join(import.meta.dirname, 'user-script.ts'));
  try {
    const conf = join(host.home, '../conf');
    mkdirSync(conf);
    writeFileSync(join(conf, 'nix.conf'), 'build-users-group =\nsubstituters =\n');
    const script = 'mount -t tmpfs tmpfs /nix && "$@" && ls /nix/store >&2';
    const command = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
    const result = await host.runBy(command, { NIX_CONF_DIR: conf }, join(repository, 'nix'), tree, 'system');
    expect(JSON.parse(result.stdout)).toMatchObject({ uid: 0, hasHello: true, unstable: false });
    expect(result.stderr).toMatch(/-environment\n/);
    expect(existsSync(join(host.home, 'store'))).toBe(false);
  } finally {
    host.close();
  }
});
