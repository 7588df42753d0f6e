/** Berth with the versions of Nix that Debian 13 and Debian's unstable suite have, beside the host's own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAtLeast } from '../../src/nix/version.ts';
import { nixOfSuite } from '../support/nix-versions.ts';
import { makeNixFixture, type NixFixture } from '../support/nixpkgs-fixture.ts';
import { evaluationErrorsSuite } from './evaluation-errors-suite.ts';
import { readTraceSuite } from './read-trace-suite.ts';

const environments: string[] = [];

describe.each([
  ['trixie', 2, 26],
  ['sid', 2, 30],
] as const)('Nix of %s', (suite, major, minor) => {
  const make = async () => makeNixFixture({ programs: await nixOfSuite(suite) });

  describe('the whole way', () => {
    let fixture: NixFixture;
    beforeAll(async () => {
      fixture = await make();
    });
    afterAll(() => fixture.close());

    it('is that version or a later one', async () => {
      const version = await fixture.nix.version();
      expect(isAtLeast(version, major, minor), version.text).toBe(true);
    });

    it('evaluates, builds, tells the closure and collects', async () => {
      const directory = fixture.project({
        'config.nix': '{ pkgs, ... }: { packages = [ pkgs.hello pkgs.greeter ]; env.A = "1"; }',
      });
      const evaluation = await fixture.nix.evaluate(fixture.request(directory));
      if (!evaluation.ok) throw evaluation.error;
      expect(evaluation.unstable).toBe(false);
      const { paths, built } = await fixture.nix.realise([evaluation.result.drvPath]);
      expect(built).toBeGreaterThan(1);
      const closure = await fixture.nix.closureOf(paths);
      const real = await fixture.nix.process.require('nix-store', ['-qR', ...paths]);
      expect(closure.paths).toEqual(real.trim().split('\n').sort());
      // Every version means the same by the same config.
      environments.push(...paths);
      expect(new Set(environments).size).toBe(1);

      await fixture.nix.roots.add('source', fixture.source.storePaths[0]!);
      await fixture.nix.roots.add('kept', paths[0]!);
      const kept = await fixture.nix.collectGarbage();
      expect(kept.paths.length).toBeGreaterThan(0);
      expect((await fixture.nix.closureOf(paths)).paths).toEqual(closure.paths);
      await fixture.nix.roots.remove('kept');
      expect((await fixture.nix.collectGarbage({ dryRun: true })).paths).toContain(paths[0]);
    });

    it('tells why a build failed', async () => {
      const directory = fixture.project({ 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.failing ]; }' });
      const evaluation = await fixture.nix.evaluate(fixture.request(directory));
      if (!evaluation.ok) throw evaluation.error;
      await expect(fixture.nix.realise([evaluation.result.drvPath])).rejects.toMatchObject({
        code: 'BUILD_FAILED',
        message: 'The build of failing-1.0 failed with exit code 7.',
        details: { log: ['about to fail', 'the reason is here'] },
      });
      const wrong = fixture.project({ 'config.nix': '{ pkgs, ... }: { env.A = pkgs.wrongHash; }' });
      const evaluated = await fixture.nix.evaluate(fixture.request(wrong));
      if (!evaluated.ok) throw evaluated.error;
      await expect(fixture.nix.realise([evaluated.result.drvPath])).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    });
  });

  describe('errors', () => evaluationErrorsSuite(make));
  describe('traces', () => readTraceSuite(make));
});
