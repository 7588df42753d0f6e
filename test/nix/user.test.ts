/** All of it as an ordinary user, with user namespaces in place of root. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { asUser, type UserScript } from '../support/as-user.ts';
import { makeNixpkgs, repository } from '../support/nixpkgs-fixture.ts';

const isRoot = process.getuid?.() === 0;
let user: UserScript;
let tree: string;

beforeAll(async () => {
  user = await asUser(join(import.meta.dirname, 'user-script.ts'));
  tree = makeNixpkgs(join(user.home, '../tree'));
});
afterAll(() => user.close());

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
