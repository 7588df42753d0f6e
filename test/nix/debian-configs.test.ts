/** Configs over the real Debian archive, alone and beside nixpkgs: what Nix code of this side makes of its packages. */
import { lstatSync, mkdtempSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluateRequest, Evaluation } from '../../src/nix/evaluate.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import { physicalPath } from '../../src/nix/store.ts';
import type { PreparedSource } from '../../src/sources/source.ts';
import { debianPrepared, debianStore } from '../support/debian-root.ts';
import { makeNixpkgs, removeStore, repository, writeFiles } from '../support/nixpkgs-fixture.ts';
import { testHome } from '../support/test-home.ts';

let root: string;
let nix: Nix;
let debian: PreparedSource;
let nixpkgs: PreparedSource;
let count = 0;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-debian-'));
  debian = await debianPrepared('bookworm');
  nix = createNix({
    store: debianStore,
    nixFolder: join(repository, 'nix'),
    home: join(testHome, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  const path = await nix.addToStore(makeNixpkgs(join(root, 'nixpkgs')), 'source');
  nixpkgs = { kind: 'nixpkgs', nix: { path }, storePaths: [path] };
});
afterAll(async () => {
  await nix.close();
  removeStore(root);
});

async function evaluate(text: string, more: Partial<EvaluateRequest> = {}): Promise<Evaluation> {
  count += 1;
  const directory = join(root, `project-${count}`);
  writeFiles(directory, { 'config.nix': text });
  const config = { file: join(directory, 'config.nix'), directory, shape: 'nix' } as const;
  return nix.evaluate({ config, sources: { pkgs: debian }, defaultSource: 'pkgs', ...more });
}

async function build(evaluation: Evaluation) {
  if (!evaluation.ok) throw evaluation.error;
  const { paths } = await nix.realise([evaluation.result.drvPath]);
  const folder = physicalPath(debianStore, paths[0]!);
  const entries = readFileSync(join(folder, 'variables'), 'utf8')
    .split('\0')
    .filter((entry) => entry !== '');
  const variables = Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
  const fhs = physicalPath(debianStore, readlinkSync(join(folder, 'fhs')));
  const has = (file: string) => lstatSync(join(fhs, file), { throwIfNoEntry: false }) !== undefined;
  return { variables, has, result: evaluation.result };
}

describe('a config over Debian', () => {
  it('has the view of its packages and none of a build in its variables', async () => {
    const { variables, has, result } = await build(
      await evaluate('{ pkgs, ... }: { packages = [ pkgs.jq ]; env.A = "1"; shellHook = "hook"; }'),
    );
    expect(result.packages).toMatchObject([{ name: 'jq', source: 'debian' }]);
    expect(result.shellHook).toBe('hook');
    expect(has('usr/bin/jq')).toBe(true);
    expect(variables['PATH']!.split(':')).toContain('/usr/bin');
    expect(variables['A']).toBe('1');
    for (const name of Object.keys(variables)) {
      expect(name).not.toMatch(/^(?:berth|out$|outputs$|builder$|HOME$|PWD$|TMPDIR$|NIX_BUILD_|shellHook$|_$)/);
    }
  });

  it('is a shell.nix as well, with packages that are asked for besides', async () => {
    const shell = '{ pkgs ? import <nixpkgs> { } }: pkgs.mkShell { packages = [ pkgs.jq ]; FOO = "bar"; }';
    const { variables, has, result } = await build(await evaluate(shell, { extraPackages: ['ripgrep'] }));
    expect(variables['FOO']).toBe('bar');
    expect(result.packages.map(({ name }) => name)).toEqual(['jq', 'ripgrep']);
    expect(has('usr/bin/jq') && has('usr/bin/rg')).toBe(true);
  });

  it('tells of unfree and of unknown packages', async () => {
    const unfree = await evaluate('{ pkgs, ... }: {\n  packages = [ pkgs.unrar ];\n}');
    expect(unfree.ok ? '' : unfree.error).toMatchObject({
      code: 'UNFREE_PACKAGE',
      message: 'The package unrar is in non-free, which is not free software.',
      location: { line: 2 },
    });
    expect((await evaluate('{ pkgs, ... }: { packages = [ pkgs.unrar ]; }', { allowUnfree: true })).ok).toBe(true);
    const conflict = await evaluate(
      '{ pkgs, ... }: {\n  packages = [\n    pkgs.postfix\n    pkgs.sendmail-bin\n  ];\n}',
    );
    expect(conflict.ok ? '' : conflict.error).toMatchObject({
      code: 'BROKEN_PACKAGE',
      message: 'The packages postfix and sendmail-bin conflict: only one can be there.',
      location: { line: 4 },
    });
    const unknown = await evaluate('{ pkgs, ... }: {\n  packages = [ pkgs.no-such-package ];\n}');
    expect(unknown.ok ? '' : unknown.error).toMatchObject({ code: 'UNKNOWN_PACKAGE', location: { line: 2 } });
  });
});

describe('packages of Debian beside those of nixpkgs', () => {
  const text = '{ pkgs, debian, ... }: { packages = [ pkgs.hello pkgs.library debian.jq ]; }';

  it('are all there, with the set-up of nixpkgs', async () => {
    const sources = { pkgs: nixpkgs, debian };
    const { variables, has, result } = await build(await evaluate(text, { sources }));
    expect(result.packages.map(({ name, source }) => `${source} ${name}`)).toEqual([
      'nixpkgs hello',
      'debian jq',
      'nixpkgs library',
    ]);
    expect(has('usr/bin/jq')).toBe(true);
    const path = variables['PATH']!.split(':');
    expect(path[0]).toMatch(/-hello-2\.12\/bin$/);
    expect(path.slice(-2)).toEqual(['/usr/bin', '/bin']);
    expect(variables['LIBRARY_HOME']).toMatch(/-library-0\.3$/);
  });

  it('can be the other way round', async () => {
    const other = '{ pkgs, nixpkgs, ... }: { packages = [ pkgs.jq nixpkgs.hello ]; }';
    const { variables, has } = await build(await evaluate(other, { sources: { pkgs: debian, nixpkgs } }));
    expect(has('usr/bin/jq')).toBe(true);
    expect(variables['PATH']).toMatch(/-hello-2\.12\/bin/);
  });
});
