import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BerthError } from '../core/errors.ts';
import { editPackages } from './edit-packages.ts';
import { addPackages, listedPackages, removePackages } from './edit.ts';
import { findConfig } from './find-config.ts';

/** Adds, then removes, and checks both. */
function both(before: string, name: string, after: string): void {
  expect(addPackages(before, [name])).toBe(after);
  expect(removePackages(after, [name])).toBe(before);
}

describe('adding and removing a package', () => {
  it('keeps a list of one line', () => {
    both('{ pkgs, ... }: { packages = [ pkgs.git ]; }', 'jq', '{ pkgs, ... }: { packages = [ pkgs.git pkgs.jq ]; }');
    expect(addPackages('{ pkgs }: { deps = []; }', ['jq'])).toBe('{ pkgs }: { deps = [ pkgs.jq ]; }');
  });

  it('keeps a list of several lines, its indentation and its comments', () => {
    both(
      `{ pkgs, ... }:
{
  packages = [
    # version control
    pkgs.git # not pkgs.mercurial ]
    /* pkgs.jq */
    pkgs.python3
  ];
}
`,
      'jq',
      `{ pkgs, ... }:
{
  packages = [
    # version control
    pkgs.git # not pkgs.mercurial ]
    /* pkgs.jq */
    pkgs.python3
    pkgs.jq
  ];
}
`,
    );
  });

  it('writes bare names within `with pkgs`', () => {
    both(
      '{ pkgs, ... }: { packages = with pkgs; [ git ]; }',
      'jq',
      '{ pkgs, ... }: { packages = with pkgs; [ git jq ]; }',
    );
  });

  it('writes a version, and asks for `at` where it has to', () => {
    const before = '{ pkgs, ... }: { packages = [ pkgs.git ]; }';
    const after = '{ pkgs, at, ... }: { packages = [ pkgs.git (at "nodejs" "18") ]; }';
    expect(addPackages(before, ['nodejs@18'])).toBe(after);
    expect(addPackages(after, ['nodejs@18'])).toBe(after);
    expect(listedPackages(after)).toEqual(['git', 'nodejs@18']);
    expect(removePackages(after, ['nodejs@18'])).toBe('{ pkgs, at, ... }: { packages = [ pkgs.git ]; }');
    expect(addPackages('{ pkgs }: { packages = [ ]; }', ['g++@>=12 <13'])).toBe(
      '{ pkgs, at }: { packages = [ (at "g++" ">=12 <13") ]; }',
    );
    expect(() => addPackages('pkgs: { packages = [ ]; }', ['nodejs@18'])).toThrow(/can't ask for `at`/);
    expect(() => addPackages(before, ['nodejs@"'])).toThrow(/no name/);
  });

  it('writes names as the list does', () => {
    expect(addPackages('p: { packages = [ p.git ]; }', ['jq'])).toBe('p: { packages = [ p.git p.jq ]; }');
  });

  it('works in a mkShell, on packages rather than build inputs', () => {
    both(
      '{ pkgs ? import <nixpkgs> {} }: pkgs.mkShell { buildInputs = [ pkgs.zlib ]; packages = [ pkgs.git ]; }',
      'jq',
      '{ pkgs ? import <nixpkgs> {} }: pkgs.mkShell { buildInputs = [ pkgs.zlib ]; packages = [ pkgs.git pkgs.jq ]; }',
    );
    expect(addPackages('{ pkgs }: pkgs.mkShell { buildInputs = [ pkgs.zlib ]; }', ['jq'])).toContain(
      'pkgs.zlib pkgs.jq',
    );
  });

  it('is not confused by strings, paths and what they hold', () => {
    both(
      `{ pkgs, ... }: {
  shellHook = ''
    packages = [ ]; '''quoted''' \${pkgs.git + "}"} ''\${x}
  '';
  env.A = "packages = [ \\" \${"]"}";
  packages = [ pkgs.git (pkgs.python3.withPackages (p: [ p.requests ])) ./pkg.nix ];
}`,
      'jq',
      `{ pkgs, ... }: {
  shellHook = ''
    packages = [ ]; '''quoted''' \${pkgs.git + "}"} ''\${x}
  '';
  env.A = "packages = [ \\" \${"]"}";
  packages = [ pkgs.git (pkgs.python3.withPackages (p: [ p.requests ])) ./pkg.nix pkgs.jq ];
}`,
    );
  });

  it('takes several names, nested sets and what is there already', () => {
    const text = '{ pkgs, ... }: { packages = [ pkgs.git ]; }';
    expect(listedPackages(addPackages(text, ['git', 'jq', 'python3Packages.pip']))).toEqual([
      'git',
      'jq',
      'python3Packages.pip',
    ]);
    expect(addPackages(text, ['git'])).toBe(text);
    expect(removePackages(text, ['absent'])).toBe(text);
    expect(removePackages(text, ['git'])).toBe('{ pkgs, ... }: { packages = [ ]; }');
  });

  it('removes a line with the comment on it', () => {
    expect(removePackages('{ pkgs }: {\n  packages = [\n    pkgs.git # why\n    pkgs.jq\n  ];\n}', ['git'])).toBe(
      '{ pkgs }: {\n  packages = [\n    pkgs.jq\n  ];\n}',
    );
    expect(removePackages('{ pkgs }: {\n  packages = [\n    pkgs.git pkgs.jq\n  ];\n}', ['git'])).toBe(
      '{ pkgs }: {\n  packages = [\n    pkgs.jq\n  ];\n}',
    );
  });

  it('writes a package of another source whole, where the config takes that source', () => {
    const text = '{ pkgs, debian, ... }: { packages = [ pkgs.git ]; }';
    both(text, 'debian.jq', '{ pkgs, debian, ... }: { packages = [ pkgs.git debian.jq ]; }');
    expect(() => addPackages('{ pkgs, ... }: { packages = [ pkgs.git ]; }', ['debian.jq'])).toThrow(
      /argument `debian`/,
    );
  });
});

describe('a config that is not plain enough', () => {
  const refused: [string, string][] = [
    ['a list that is put together', '{ pkgs, ... }: { packages = [ pkgs.git ] ++ import ./more.nix; }'],
    ['a list from elsewhere', '{ pkgs, ... }: { packages = import ./packages.nix pkgs; }'],
    ['no list', '{ pkgs, ... }: { }'],
    ['a list that does not end', '{ pkgs, ... }: { packages = [ pkgs.git; }'],
    ['a list with a broken element', '{ pkgs, ... }: { packages = [ (pkgs.git ]; }'],
    ['two lists', '{ pkgs }: pkgs.mkShell { buildInputs = [ pkgs.a ]; nativeBuildInputs = [ pkgs.b ]; }'],
  ];
  for (const [what, text] of refused) {
    it(`${what} is refused, with the line to write by hand`, () => {
      const error = errorOf(() => addPackages(text, ['jq']));
      expect(error.code).toBe('CONFIG_NOT_EDITABLE');
      expect(error.hint).toContain('pkgs.jq');
    });
  }

  it('refuses a name that is code', () => {
    expect(() => addPackages('{ pkgs }: { packages = [ ]; }', ['a ]; b = [ x'])).toThrow(/is no name/);
  });
});

function errorOf(work: () => unknown): BerthError {
  try {
    work();
  } catch (error) {
    if (error instanceof BerthError) return error;
  }
  throw new Error('It did not fail with an error of the catalogue.');
}

describe('editing the file', () => {
  it('changes it as a whole, keeps its mode, and tells what changed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-edit-'));
    const file = join(folder, 'config.nix');
    writeFileSync(file, '{ pkgs, ... }: { packages = [ pkgs.git ]; }', { mode: 0o600 });
    const config = findConfig(folder);
    expect(await editPackages(config, 'add', ['git', 'jq'])).toEqual(['jq']);
    expect(await editPackages(config, 'add', ['jq'])).toEqual([]);
    expect(await editPackages(config, 'remove', ['git', 'absent'])).toEqual(['git']);
    expect(readFileSync(file, 'utf8')).toBe('{ pkgs, ... }: { packages = [ pkgs.jq ]; }');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['config.nix']);
    rmSync(folder, { recursive: true });
  });
});
