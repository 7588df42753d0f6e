/** Each way in which a config can be wrong, by a real evaluation: the error's code, place and words. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BerthError, ErrorCode } from '../../src/core/errors.ts';
import type { EvaluateRequest } from '../../src/nix/evaluate.ts';
import type { NixFixture } from '../support/nixpkgs-fixture.ts';

/** Each way in which a config can be wrong, by a real evaluation. */
export function evaluationErrorsSuite(makeFixture: () => Promise<NixFixture>): void {
  let fixture: NixFixture;

  beforeAll(async () => {
    fixture = await makeFixture();
  });
  afterAll(() => fixture.close());

  async function failure(
    files: string | Record<string, string>,
    more: Partial<EvaluateRequest> = {},
  ): Promise<{ error: BerthError; directory: string; location: string | undefined }> {
    const directory = fixture.project(typeof files === 'string' ? { 'config.nix': files } : files);
    const evaluation = await fixture.nix.evaluate(fixture.request(directory, more));
    if (evaluation.ok) throw new Error('The evaluation succeeded.');
    const { error } = evaluation;
    const at = error.location;
    return { error, directory, location: at && `${at.file.slice(directory.length + 1)}:${at.line}` };
  }

  interface Case {
    readonly what: string;
    readonly config: string | Record<string, string>;
    readonly code: ErrorCode;
    readonly message: RegExp;
    readonly location: string | undefined;
  }

  const cases: Case[] = [
    {
      what: 'a missing semicolon',
      config: '{ pkgs, ... }: {\n  packages = [ pkgs.hello ]\n}',
      code: 'CONFIG_SYNTAX',
      message: /^The config is not valid Nix: unexpected '}'/,
      location: 'config.nix:3',
    },
    {
      what: 'a key given twice',
      config: '{ pkgs, ... }: {\n  packages = [ ];\n  packages = [ ];\n}',
      code: 'CONFIG_SYNTAX',
      message: /attribute 'packages' already defined/,
      location: 'config.nix:3',
    },
    {
      what: 'an unknown package',
      config: '{ pkgs, ... }: {\n  packages = [\n    pkgs.helo\n  ];\n}',
      code: 'UNKNOWN_PACKAGE',
      message: /^There is no package `helo`\.$/,
      location: 'config.nix:3',
    },
    {
      what: 'an unknown package within `with pkgs`',
      config: '{ pkgs, ... }: {\n  packages = with pkgs; [ helo ];\n}',
      code: 'UNKNOWN_PACKAGE',
      message: /^There is no `helo`/,
      location: 'config.nix:2',
    },
    {
      what: 'an unknown package in a file that the config imports',
      config: {
        'config.nix': '{ pkgs, ... }: { packages = import ./more.nix pkgs; }',
        'more.nix': 'pkgs:\n[ pkgs.helo ]',
      },
      code: 'UNKNOWN_PACKAGE',
      message: /`helo`/,
      location: 'more.nix:2',
    },
    {
      what: 'an unknown package in a mkShell',
      config: '{ pkgs ? import <nixpkgs> { } }:\npkgs.mkShell {\n  packages = [ pkgs.helo ];\n}',
      code: 'UNKNOWN_PACKAGE',
      message: /`helo`/,
      location: 'config.nix:3',
    },
    {
      what: 'an unknown key',
      config: '{ pkgs, ... }: {\n  package = [ pkgs.hello ];\n}',
      code: 'UNKNOWN_KEY',
      message: /the key `package`/,
      location: 'config.nix:2',
    },
    {
      what: 'an unknown argument',
      config: '{ pkgs,\n  nixpkg, ... }: { packages = [ nixpkg.hello ]; }',
      code: 'UNKNOWN_KEY',
      message: /the argument `nixpkg`/,
      location: 'config.nix:2',
    },
    {
      what: 'a key of Replit with one of ours',
      config: '{ pkgs }: {\n  deps = [ pkgs.hello ];\n  ports = [ 80 ];\n}',
      code: 'UNKNOWN_KEY',
      message: /the key `ports`/,
      location: 'config.nix:3',
    },
    {
      what: 'packages that are no list',
      config: '{ pkgs, ... }: {\n  packages = pkgs.hello;\n}',
      code: 'CONFIG_TYPE',
      message: /^`packages` must be a list of packages; it is a package\.$/,
      location: 'config.nix:2',
    },
    {
      what: 'a package that is text',
      config: '{ pkgs, ... }: {\n  packages = [ pkgs.hello "git" ];\n}',
      code: 'CONFIG_TYPE',
      message: /element 2 is not; it is text/,
      location: 'config.nix:2',
    },
    {
      what: 'a variable that is a set',
      config: '{ pkgs, ... }: {\n  env = {\n    A = { };\n  };\n}',
      code: 'CONFIG_TYPE',
      message: /^`env\.A` must be/,
      location: 'config.nix:3',
    },
    {
      what: 'a variable with an odd name',
      config: '{ pkgs, ... }: {\n  env."A B" = "";\n}',
      code: 'CONFIG_TYPE',
      message: /names of variables/,
      location: 'config.nix:2',
    },
    {
      what: 'a port out of range',
      config: '{ pkgs, ... }: {\n  ports = [ 80 99999 ];\n}',
      code: 'CONFIG_TYPE',
      message: /^`ports` must be .*element 2/,
      location: 'config.nix:2',
    },
    {
      what: 'a command that is text',
      config: '{ pkgs, ... }: {\n  command = "hello";\n}',
      code: 'CONFIG_TYPE',
      message: /^`command` must be a list of text and paths/,
      location: 'config.nix:2',
    },
    {
      what: 'a config that is a list',
      config: '{ pkgs, ... }: [ pkgs.hello ]',
      code: 'CONFIG_TYPE',
      message: /^The config must be .* it is a list\.$/,
      location: undefined,
    },
    {
      what: 'a throw of its own',
      config: '{ pkgs, ... }: {\n  packages = throw "not on Mondays";\n}',
      code: 'CONFIG_EVALUATION',
      message: /^The evaluation failed: not on Mondays\.$/,
      location: 'config.nix:2',
    },
    {
      what: 'an assertion that fails',
      config: '{ pkgs, ... }:\nassert false;\n{ }',
      code: 'CONFIG_EVALUATION',
      message: /assertion .*failed/,
      location: 'config.nix:2',
    },
    {
      what: 'an abort',
      config: '{ pkgs, ... }: { packages = builtins.abort "stop"; }',
      code: 'CONFIG_EVALUATION',
      message: /stop/,
      location: 'config.nix:1',
    },
    {
      what: 'a file that is not there',
      config: '{ pkgs, ... }: {\n  shellHook = builtins.readFile ./absent;\n}',
      code: 'CONFIG_EVALUATION',
      message: /absent, which is not there\.$/,
      location: 'config.nix:2',
    },
    {
      what: 'infinite recursion',
      config: '{ pkgs, ... }: rec {\n  packages = packages ++ [ pkgs.hello ];\n}',
      code: 'INFINITE_RECURSION',
      message: /defined by itself/,
      location: 'config.nix:2',
    },
    {
      what: 'an unfree package',
      config: '{ pkgs, ... }: {\n  packages = [ pkgs.unfree ];\n}',
      code: 'UNFREE_PACKAGE',
      message: /unfree-1\.0 has an unfree license/,
      location: 'config.nix:2',
    },
    {
      what: 'a broken package',
      config: '{ pkgs, ... }: {\n  packages = [ pkgs.broken ];\n}',
      code: 'BROKEN_PACKAGE',
      message: /broken-1\.0 is marked as broken/,
      location: 'config.nix:2',
    },
    {
      what: 'an insecure package',
      config: '{ pkgs, ... }: {\n  packages = [ pkgs.insecure ];\n}',
      code: 'BROKEN_PACKAGE',
      message: /insecure-1\.0 is marked as insecure/,
      location: 'config.nix:2',
    },
    {
      what: 'an import from a derivation',
      config: '{ pkgs, ... }: {\n  shellHook = builtins.readFile (pkgs.runCommand "made" { } "echo > $out");\n}',
      code: 'IMPORT_FROM_DERIVATION',
      message: /the output of made/,
      location: 'config.nix:2',
    },
    {
      what: "a file of the host's",
      config: '{ pkgs, ... }: {\n  shellHook = builtins.readFile /etc/shadow;\n}',
      code: 'PATH_FORBIDDEN',
      // Later versions already refuse the folder.
      message: /may not read \/etc(\/shadow)?\.$/,
      location: 'config.nix:2',
    },
    {
      what: 'a file beside the project',
      config: '{ pkgs, ... }: {\n  shellHook = builtins.readFile ../secret;\n}',
      code: 'PATH_FORBIDDEN',
      message: /may not read .*\/secret/,
      location: 'config.nix:2',
    },
    {
      what: 'an unknown search path',
      config: '{ pkgs, ... }: {\n  packages = [ (import <nixos> { }).hello ];\n}',
      code: 'PATH_FORBIDDEN',
      message: /`<nixos>` is not known/,
      location: 'config.nix:2',
    },
    {
      what: 'a fetch without a hash',
      config: '{ pkgs, ... }: {\n  packages = import (builtins.fetchTarball "http://127.0.0.1:1/x.tar.gz") pkgs;\n}',
      code: 'PATH_FORBIDDEN',
      message: /without a sha256/,
      location: 'config.nix:2',
    },
    {
      what: 'a fetch from a host that does not answer',
      config: `{ pkgs, ... }: {
  packages = import (fetchTarball { url = "http://127.0.0.1:1/x.tar.gz"; sha256 = "${'0'.repeat(52)}"; }) pkgs;
}`,
      code: 'MIRROR_UNREACHABLE',
      message: /^127\.0\.0\.1:1 could not be reached/,
      location: undefined,
    },
    {
      what: "a fetch of a file of the host's",
      config: `{ pkgs, ... }: {
  shellHook = builtins.readFile (builtins.fetchurl { url = "file:///etc/shadow"; sha256 = "${'0'.repeat(52)}"; });
}`,
      code: 'PATH_FORBIDDEN',
      message: /only http and https/,
      location: undefined,
    },
    {
      what: 'a version that is not locked',
      config: '{ pkgs, at, ... }: { packages = [ (at "hello" "1") ]; }',
      code: 'PACKAGES_NEEDED',
      message: /not locked/,
      location: undefined,
    },
    {
      what: 'a source that is not locked',
      config: '{ debian, ... }: { packages = [ debian.git ]; }',
      code: 'SOURCE_NEEDED',
      message: /`debian`/,
      location: undefined,
    },
  ];

  describe('a config with', () => {
    for (const { what, config, code, message, location } of cases) {
      it(`${what} is ${code}`, async () => {
        const failed = await failure(config);
        expect(failed.error.code, failed.error.message).toBe(code);
        expect(failed.error.message).toMatch(message);
        expect(failed.location).toBe(location);
        // Paths of the sandbox mean nothing to the user.
        expect(failed.error.message).not.toContain('/run/berth');
      });
    }

    it('a package of a source that `--nix` adds and that is not there is UNKNOWN_PACKAGE', async () => {
      const { error } = await failure('{ pkgs, ... }: { }', { extraPackages: ['helo'] });
      expect(error).toMatchObject({ code: 'UNKNOWN_PACKAGE', details: { name: 'helo' } });
    });

    it('an unknown key names the nearest', async () => {
      const { error } = await failure('{ pkgs, ... }: { package = [ ]; }');
      expect(error.hint).toBe('Did you mean `packages`?');
    });
  });

  describe('an unfree package', () => {
    it('is taken where it is allowed', async () => {
      const directory = fixture.project({ 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.unfree ]; }' });
      expect((await fixture.nix.evaluate(fixture.request(directory, { allowUnfree: true }))).ok).toBe(true);
    });
  });

  describe('the limits', () => {
    it('end an evaluation that calls itself without end', async () => {
      const { error } = await failure('{ pkgs, ... }: let f = x: f (x + 1); in { packages = f 0; }');
      expect(error).toMatchObject({ code: 'EVALUATION_LIMIT', details: { limit: 'depth' } });
    });

    it('end one that takes too long', async () => {
      const loop = `builtins.foldl' (a: b: builtins.foldl' (x: y: x + y) 0 (builtins.genList (x: x) 1000000)) 0 (builtins.genList (x: x) 100000)`;
      const { error } = await failure(`{ pkgs, ... }: { packages = ${loop}; }`, { limits: { timeMs: 1500 } });
      expect(error).toMatchObject({ code: 'EVALUATION_LIMIT', details: { limit: 'time' } });
    });

    it('end one that needs too much memory', async () => {
      const { error } = await failure('{ pkgs, ... }: { packages = builtins.genList (x: [ x x x x ]) 1000000000; }', {
        limits: { memoryBytes: 2 ** 31 },
      });
      expect(error).toMatchObject({ code: 'EVALUATION_LIMIT', details: { limit: 'memory' } });
    });

    it('end one that prints too much', async () => {
      const { error } = await failure(
        '{ pkgs, ... }: { shellHook = builtins.concatStringsSep "" (builtins.genList (x: "0123456789") 200000); }',
        { limits: { outputBytes: 1_000_000 } },
      );
      expect(error).toMatchObject({ code: 'EVALUATION_LIMIT', details: { limit: 'output' } });
    });
  });

  describe('the sandbox', () => {
    it('shows no other folder of the host, and no network', async () => {
      const secret = join(fixture.root, 'secret');
      mkdirSync(secret, { recursive: true });
      writeFileSync(join(secret, 'file'), 'secret');
      const text = `{ pkgs, ... }: { shellHook = builtins.toJSON (map builtins.pathExists [ ${secret}/file /etc/passwd /root /home ]); }`;
      const directory = fixture.project({ 'config.nix': text });
      const evaluation = await fixture.nix.evaluate(fixture.request(directory));
      expect(evaluation.ok && evaluation.result.shellHook).toBe('[false,false,false,false]');
    });

    it('leads no link of the project out of it', async () => {
      const directory = fixture.project({ 'config.nix': '{ pkgs, ... }: { shellHook = builtins.readFile ./link; }' });
      const { symlinkSync } = await import('node:fs');
      symlinkSync('/etc/hostname', join(directory, 'link'));
      const evaluation = await fixture.nix.evaluate(fixture.request(directory));
      expect(evaluation.ok ? 'read' : evaluation.error.code).toBe('PATH_FORBIDDEN');
    });
  });

  describe('a cancelled evaluation', () => {
    it('ends at once and leaves nothing', async () => {
      const loop = `builtins.foldl' (a: b: builtins.foldl' (x: y: x + y) 0 (builtins.genList (x: x) 1000000)) 0 (builtins.genList (x: x) 100000)`;
      const directory = fixture.project({ 'config.nix': `{ pkgs, ... }: { packages = ${loop}; }` });
      const controller = new AbortController();
      const evaluation = fixture.nix.evaluate(fixture.request(directory), controller.signal);
      setTimeout(() => controller.abort(), 300);
      await expect(evaluation).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(readdirSync(join(fixture.root, 'nix/run')).filter((name) => name.startsWith('evaluate-'))).toEqual([]);
    });
  });
}
