/** Each program of the Debian source is used for real, in a root that has nothing but its view. */
import { describe, expect, test } from 'vitest';
import { debianView, runInDebianRoot } from '../support/debian-root.ts';
import { type ProgramCase, programs } from './programs.ts';

const isRoot = process.getuid?.() === 0;

async function check(suite: string, program: ProgramCase): Promise<void> {
  const view = await debianView(suite, program.packages);
  const result = await runInDebianRoot(view, program.script);
  const seen = { code: result.code, stdout: result.stdout, stderr: result.stderr.slice(-4000) };
  const stdout: unknown = typeof program.prints === 'string' ? program.prints : expect.stringMatching(program.prints);
  expect(seen).toEqual({ code: 0, stdout, stderr: seen.stderr });
}

for (const suite of ['bookworm', 'trixie', 'sid']) {
  describe(suite, () => {
    for (const program of programs) {
      if (suite !== 'bookworm' && !program.alsoOn?.includes(suite)) continue;
      test(program.name, { timeout: 600_000 }, async (context) => {
        context.skip(program.needsRoot === true && !isRoot, 'only root can become another user');
        await check(suite, program);
      });
    }
  });
}
