/** What an evaluation reads is observed, and every way in which others go stale is seen here. */
import { execFileSync } from 'node:child_process';
import { chmodSync, renameSync, rmSync, statSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evaluation, EvaluateRequest } from '../../src/nix/evaluate.ts';
import { checkTrace } from '../../src/nix/observe.ts';
import type { ReadTrace } from '../../src/nix/read-trace.ts';
import { writeFiles, type NixFixture } from '../support/nixpkgs-fixture.ts';

/** What an evaluation reads is observed, and every way in which others go stale is seen. */
export function readTraceSuite(makeFixture: () => Promise<NixFixture>): void {
  let fixture: NixFixture;

  beforeAll(async () => {
    fixture = await makeFixture();
  });
  afterAll(() => fixture.close());

  async function evaluated(directory: string, more: Partial<EvaluateRequest> = {}): Promise<Evaluation> {
    const evaluation = await fixture.nix.evaluate(fixture.request(directory, more));
    if (!evaluation.ok && evaluation.error.code === 'INTERNAL') throw evaluation.error;
    expect(evaluation.unstable).toBe(false);
    return evaluation;
  }

  /** Evaluates, checks that the trace holds, and that it no longer does after the edit. */
  async function stale(
    files: Record<string, string>,
    edit: (directory: string) => void,
    more: Partial<EvaluateRequest> = {},
    prepare: (directory: string) => void = () => undefined,
  ) {
    const directory = fixture.project(files);
    prepare(directory);
    const evaluation = await evaluated(directory, more);
    const { trace } = evaluation;
    expect(checkTrace(trace, more.passEnv)).toEqual({ same: true });
    edit(directory);
    const check = checkTrace(trace, more.passEnv);
    if (check.same) throw new Error(`The edit was not seen; the trace is ${JSON.stringify(trace, null, 1)}`);
    const subject = 'path' in check.changed ? check.changed.path.slice(directory.length + 1) : check.changed.name;
    return { evaluation, changed: `${check.changed.kind} ${subject}`, now: check.now, directory, trace };
  }

  const config = (hook: string) => `{ pkgs, ... }: { shellHook = ${hook}; }`;

  describe('a trace', () => {
    it('holds while nothing is edited, and names only what lies in the project', async () => {
      const directory = fixture.project({
        'config.nix': config('import ./hook.nix'),
        'hook.nix': '"a"',
        'other.nix': '1',
      });
      const { trace } = await evaluated(directory);
      expect(checkTrace(trace)).toEqual({ same: true });
      expect(paths(trace)).toEqual(['config.nix', 'hook.nix'].map((name) => join(directory, name)));
      writeFileSync(join(directory, 'other.nix'), '2');
      expect(checkTrace(trace)).toEqual({ same: true });
    });

    it('sees an edit of the config, and that a comment leaves the derivation as it was', async () => {
      const files = { 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.hello pkgs.cowsay ]; }' };
      const { evaluation, directory, changed } = await stale(files, (folder) =>
        writeFileSync(
          join(folder, 'config.nix'),
          '{ pkgs, ... }: {\n  # the same, in another order\n  packages = [ pkgs.cowsay   pkgs.hello ];\n}',
        ),
      );
      expect(changed).toBe('file config.nix');
      const again = await evaluated(directory);
      expect(again.ok && again.result.drvPath).toBe(evaluation.ok && evaluation.result.drvPath);
    });
  });

  describe('an edit that others miss', () => {
    it('a new file in a directory that the config lists', async () => {
      const files = { 'config.nix': config('toString (builtins.attrNames (builtins.readDir ./parts))'), 'parts/a': '' };
      const { changed } = await stale(files, (folder) => writeFileSync(join(folder, 'parts/b'), ''));
      expect(changed).toBe('listing parts');
    });

    it('a file that was absent and appears', async () => {
      const files = { 'config.nix': config('if builtins.pathExists ./local.nix then import ./local.nix else ""') };
      const { changed, now } = await stale(files, (folder) => writeFileSync(join(folder, 'local.nix'), '"x"'));
      expect(changed).toBe('absent local.nix');
      expect(now).toMatchObject({ kind: 'exists', type: 'file' });
    });

    it('a file that was there and goes', async () => {
      const files = { 'config.nix': config('if builtins.pathExists ./local.nix then "a" else ""'), 'local.nix': '1' };
      const { changed } = await stale(files, (folder) => rmSync(join(folder, 'local.nix')));
      expect(changed).toBe('exists local.nix');
    });

    it('a file in a folder that is copied to the store, at any depth', async () => {
      const files = { 'config.nix': config('"${./source}"'), 'source/deep/file': 'a' };
      expect((await stale(files, (folder) => writeFileSync(join(folder, 'source/deep/file'), 'b'))).changed).toBe(
        'file source/deep/file',
      );
      expect((await stale(files, (folder) => writeFileSync(join(folder, 'source/deep/new'), 'b'))).changed).toBe(
        'listing source/deep',
      );
    });

    it('a new file that a filter, as of filesets, would take', async () => {
      const filter = 'path: type: type == "directory" || builtins.match ".*\\\\.py" path != null';
      const files = {
        'config.nix': config(`"\${builtins.path { path = ./.; name = "source"; filter = ${filter}; }}"`),
        'a.py': '',
        'sub/b.txt': '',
      };
      expect((await stale(files, (folder) => writeFileSync(join(folder, 'sub/c.py'), ''))).changed).toBe('listing sub');
      expect((await stale(files, (folder) => writeFileSync(join(folder, 'a.py'), '1'))).changed).toBe('file a.py');
    });

    it('what git tracks, when the config reads it', async () => {
      // As lib.fileset.gitTracked and builtins.fetchGit decide: by the repository's index.
      const files = { 'config.nix': config('builtins.hashFile "sha256" ./.git/index'), 'a.txt': '' };
      const git = (folder: string, ...args: string[]) =>
        execFileSync('git', ['-C', folder, ...args], { stdio: 'pipe' });
      const { changed } = await stale(
        files,
        (folder) => {
          writeFileSync(join(folder, 'b.txt'), '');
          git(folder, 'add', 'b.txt');
        },
        {},
        (folder) => {
          git(folder, 'init', '-q');
          git(folder, 'add', 'a.txt');
        },
      );
      expect(changed).toBe('file .git/index');
    });

    it('readFile of JSON and of TOML', async () => {
      const json = {
        'config.nix': config('(builtins.fromJSON (builtins.readFile ./a.json)).x'),
        'a.json': '{"x":"1"}',
      };
      expect((await stale(json, (folder) => writeFileSync(join(folder, 'a.json'), '{"x":"2"}'))).changed).toBe(
        'file a.json',
      );
      const toml = { 'config.nix': config('(builtins.fromTOML (builtins.readFile ./a.toml)).x'), 'a.toml': 'x = "1"' };
      expect((await stale(toml, (folder) => writeFileSync(join(folder, 'a.toml'), 'x = "2"'))).changed).toBe(
        'file a.toml',
      );
    });

    it("a link's target, and what it leads to", async () => {
      const files = { 'config.nix': config('builtins.readFile ./link'), a: 'a', b: 'b' };
      const link = (folder: string) => symlinkSync('a', join(folder, 'link'));
      const relinked = await stale(
        files,
        (folder) => {
          unlinkSync(join(folder, 'link'));
          symlinkSync('b', join(folder, 'link'));
        },
        {},
        link,
      );
      expect(relinked.changed).toBe('link link');
      expect(relinked.now).toMatchObject({ kind: 'link', target: 'b' });
      expect((await stale(files, (folder) => writeFileSync(join(folder, 'a'), 'c'), {}, link)).changed).toBe('file a');
    });

    it('an edit that keeps time and size', async () => {
      const files = { 'config.nix': config('builtins.readFile ./data'), data: 'aaaa' };
      const old = new Date('2020-01-01T00:00:00Z');
      const { changed } = await stale(
        files,
        (folder) => {
          const file = join(folder, 'data');
          const before = statSync(file);
          writeFileSync(file, 'bbbb');
          utimesSync(file, old, old);
          expect(statSync(file)).toMatchObject({ size: before.size, mtimeMs: before.mtimeMs });
        },
        {},
        (folder) => utimesSync(join(folder, 'data'), old, old),
      );
      expect(changed).toBe('file data');
    });

    it('a file that is made executable, since the store keeps that', async () => {
      const files = { 'config.nix': config('"${./tool}"'), tool: '#!/bin/sh' };
      expect((await stale(files, (folder) => chmodSync(join(folder, 'tool'), 0o755))).changed).toBe('file tool');
    });

    it('a file that only a failing first evaluation read', async () => {
      const files = { 'config.nix': config('(import ./broken.nix).hook'), 'broken.nix': '{ hook = ; }' };
      const { evaluation, changed, directory } = await stale(files, (folder) =>
        writeFileSync(join(folder, 'broken.nix'), '{ hook = "mended"; }'),
      );
      expect(evaluation.ok).toBe(false);
      expect(changed).toBe('file broken.nix');
      const mended = await evaluated(directory);
      expect(mended.ok && mended.result.shellHook).toBe('mended');
    });

    it('a file that a failing evaluation missed', async () => {
      const files = { 'config.nix': config('import ./later.nix') };
      const { evaluation, changed } = await stale(files, (folder) => writeFileSync(join(folder, 'later.nix'), '""'));
      expect(evaluation.ok).toBe(false);
      expect(changed).toBe('absent later.nix');
    });

    it('an edit of flake.lock, and one that appears', async () => {
      const flake = `{ outputs = { self, nixpkgs }: {
      devShells.x86_64-linux.default = nixpkgs.legacyPackages.x86_64-linux.mkShell { packages = [ ]; };
    }; }`;
      const lock = { version: 7, root: 'root', nodes: { root: {} } };
      const text = JSON.stringify(lock);
      const edited = await stale({ 'flake.nix': flake, 'flake.lock': text }, (folder) =>
        writeFileSync(join(folder, 'flake.lock'), JSON.stringify(lock, null, 2)),
      );
      expect(edited.evaluation.ok ? '' : edited.evaluation.error.message).toBe('');
      expect(edited.changed).toBe('file flake.lock');
      const appeared = await stale({ 'flake.nix': flake }, (folder) => writeFileSync(join(folder, 'flake.lock'), text));
      expect(appeared.changed).toBe('absent flake.lock');
    });

    it('a directory that is replaced by another', async () => {
      const files = { 'config.nix': config('import ./part/hook.nix'), 'part/hook.nix': '"a"', 'next/hook.nix': '"b"' };
      const { changed } = await stale(files, (folder) => {
        renameSync(join(folder, 'part'), join(folder, 'old'));
        renameSync(join(folder, 'next'), join(folder, 'part'));
      });
      expect(changed).toBe('file part/hook.nix');
    });
  });

  describe('a variable', () => {
    const files = { 'config.nix': config('"x" + builtins.getEnv "STAGE"') };

    it('is given only when it is passed, and its change is seen', async () => {
      const directory = fixture.project(files);
      process.env['STAGE'] = 'from the host';
      const without = await evaluated(directory);
      delete process.env['STAGE'];
      expect(without.ok && without.result.shellHook).toBe('x');
      expect(without.trace).toContainEqual({ kind: 'variable', name: 'STAGE', value: null });

      const given = await evaluated(directory, { passEnv: { STAGE: 'test', OTHER: '1' } });
      expect(given.ok && given.result.shellHook).toBe('xtest');
      expect(given.trace).toContainEqual({ kind: 'variable', name: 'STAGE', value: 'test' });
      expect(given.trace.filter((observation) => observation.kind === 'variable')).toHaveLength(1);
      expect(checkTrace(given.trace, { STAGE: 'test' })).toEqual({ same: true });
      expect(checkTrace(given.trace, { STAGE: 'live' }).same).toBe(false);
      expect(checkTrace(given.trace).same).toBe(false);
    });

    it('is seen in files that the config imports, and by every name that getEnv has', async () => {
      const directory = fixture.project({
        'config.nix': config('import ./a.nix + (let inherit (builtins) getEnv; in getEnv "TWO") + __getEnv "THREE"'),
        'a.nix': 'builtins.builtins.getEnv "ONE"',
      });
      const { trace, ...evaluation } = await evaluated(directory, { passEnv: { ONE: '1', TWO: '2', THREE: '3' } });
      expect(evaluation.ok && evaluation.result.shellHook).toBe('123');
      expect(trace.flatMap((observation) => (observation.kind === 'variable' ? [observation.name] : []))).toEqual([
        'ONE',
        'THREE',
        'TWO',
      ]);
    });
  });

  describe('a config that is edited while it is evaluated', () => {
    it('gives a trace that is marked as unstable', async () => {
      const slow = "builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) 3000000)";
      const directory = fixture.project({
        'config.nix': `{ pkgs, ... }: builtins.seq (${slow}) { shellHook = import ./hook.nix; }`,
        'hook.nix': '"a"',
      });
      const evaluation = fixture.nix.evaluate(fixture.request(directory));
      await new Promise((resolve) => setTimeout(resolve, 150));
      writeFiles(directory, { 'hook.nix': '"b"' });
      expect((await evaluation).unstable).toBe(true);
      expect((await evaluated(directory)).ok).toBe(true);
    });
  });

  function paths(trace: ReadTrace): string[] {
    return trace.flatMap((observation) => ('path' in observation ? [observation.path] : []));
  }
}
