import { describe, expect, test } from 'vitest';
import { readPlainConfig } from './plain-config.ts';

const nothing = { env: {}, shellHook: '', command: null, ports: [] };
const pkgs = (...names: string[]) => names.map((name) => ({ source: 'pkgs', name }));

describe('what only lists names is read', () => {
  test.each([
    ['{ pkgs, ... }: { packages = [ pkgs.git pkgs."g++" ]; }', { ...nothing, packages: pkgs('git', 'g++') }],
    ['{pkgs}:{deps=[pkgs.a-b pkgs.c];}', { ...nothing, packages: pkgs('a-b', 'c') }],
    [
      '# c\n{ pkgs, lib, ... }: /* x */ { packages = with pkgs; [ jq pkgs.git ]; }\n',
      { ...nothing, packages: pkgs('jq', 'git') },
    ],
    ['{ debian, ... }: { packages = [ debian.jq ]; }', { ...nothing, packages: [{ source: 'debian', name: 'jq' }] }],
    [
      '{ pkgs, }: { packages = [ ]; env = { A = "b\\n\\"$x\\" \\${y}"; B = 3000; C = true; D = false; }; ports = [ 80 443 ]; }',
      { ...nothing, packages: [], env: { A: 'b\n"$x" ${y}', B: '3000', C: '1', D: '' }, ports: [80, 443] },
    ],
    [
      '{ pkgs }: { packages = [ pkgs.a ]; env.A = "1"; env.B = "2"; command = [ "sh" "-c" ]; }',
      { ...nothing, packages: pkgs('a'), env: { A: '1', B: '2' }, command: ['sh', '-c'] },
    ],
    [
      "{ pkgs }: { packages = [ ]; shellHook = ''\n    echo \"$A\"\n      more ü\n\n    it's\n  ''; }",
      { ...nothing, packages: [], shellHook: 'echo "$A"\n  more ü\n\nit\'s\n' },
    ],
  ])('%s', (text, expected) => {
    expect(readPlainConfig(text)).toEqual(expected);
  });
});

describe('everything else is left to Nix', () => {
  test.each([
    // Other meanings.
    'pkgs: { packages = [ ]; }',
    '{ ... }: { packages = [ ]; }',
    '{ }: { packages = [ ]; }',
    '{ pkgs ? import <nixpkgs> { } }: { packages = [ pkgs.git ]; }',
    '{ pkgs, ... }@args: { packages = [ ]; }',
    '{ pkgs, at, ... }: { packages = [ ]; }',
    '{ pkgs, . . . }: { packages = [ ]; }',
    '{ pkgs, pkgs }: { packages = [ ]; }',
    '{ pkgs }: pkgs.mkShell { packages = [ ]; }',
    '{ pkgs }: rec { packages = [ ]; }',
    '{ pkgs }: let a = 1; in { packages = [ ]; }',
    '{ pkgs }: { inherit (pkgs) lib; packages = [ ]; }',
    // Elements that are more than names, or other names.
    '{ pkgs }: { packages = [ pkgs.python3.pkgs.pip ]; }',
    '{ pkgs }: { packages = [ pkgs.python3.11 ]; }',
    '{ pkgs }: { packages = [ (pkgs.git) ]; }',
    '{ pkgs }: { packages = [ pkgs.a or pkgs.b ]; }',
    '{ pkgs }: { packages = [ pkgs."a${"b"}" ]; }',
    '{ pkgs }: { packages = [ pkgs.${"b"} ]; }',
    '{ pkgs }: { packages = [ git ]; }',
    '{ pkgs }: { packages = [ debian.git ]; }',
    '{ pkgs, lib }: { packages = [ lib.git ]; }',
    '{ pkgs }: { packages = with pkgs; [ map ]; }',
    '{ pkgs }: { packages = with pkgs; [ __currentSystem ]; }',
    '{ pkgs, lib }: { packages = with pkgs; [ lib ]; }',
    '{ pkgs }: { packages = with pkgs; [ "g++" ]; }',
    '{ pkgs }: { packages = with pkgs; [ git/hub ]; }',
    '{ pkgs }: { packages = with pkgs.lib; [ a ]; }',
    '{ pkgs }: { packages = [ pkgs.git ] ++ [ ]; }',
    // Other keys, or the same twice.
    '{ pkgs }: { }',
    '{ pkgs }: { packages = [ ]; packages = [ ]; }',
    '{ pkgs }: { packages = [ ]; libraries = { }; }',
    '{ pkgs }: { packages = [ ]; deps = [ ]; }',
    '{ pkgs }: { deps = [ ]; ports = [ 1 ]; }',
    '{ pkgs }: { packages = [ ]; env = { A = "1"; }; env.B = "2"; }',
    '{ pkgs }: { packages = [ ]; env.A = "1"; env.A = "2"; }',
    '{ pkgs }: { packages = [ ]; env.A.b = "1"; }',
    '{ pkgs }: { packages = [ ]; env = { a-b = "1"; }; }',
    // Values that are not literal, or whose text is not obvious.
    '{ pkgs }: { packages = [ ]; env.A = "${pkgs.git}"; }',
    '{ pkgs }: { packages = [ ]; env.A = "$${pkgs}"; }',
    '{ pkgs }: { packages = [ ]; env.A = "\\\\${pkgs}"; }',
    '{ pkgs }: { packages = [ ]; env.A = 1.5; }',
    '{ pkgs }: { packages = [ ]; env.A = -1; }',
    '{ pkgs }: { packages = [ ]; env.A = 007; }',
    '{ pkgs }: { packages = [ ]; env.A = null; }',
    '{ pkgs }: { packages = [ ]; env.A = ./file; }',
    '{ pkgs }: { packages = [ ]; env.A = https://example.org; }',
    "{ pkgs }: { packages = [ ]; shellHook = ''a ''${b}''; }",
    "{ pkgs }: { packages = [ ]; shellHook = ''a ''' b''; }",
    "{ pkgs }: { packages = [ ]; shellHook = ''$''; }",
    '{ pkgs }: { packages = [ ]; command = [ ]; }',
    '{ pkgs }: { packages = [ ]; command = [ ./start.sh ]; }',
    '{ pkgs }: { packages = [ ]; ports = [ 0 ]; }',
    '{ pkgs }: { packages = [ ]; ports = [ 65536 ]; }',
    '{ pkgs }: { packages = [ ]; ports = [ "80" ]; }',
    // Faults, and blanks of JavaScript's only.
    '',
    '{ pkgs }: { packages = [ pkgs.git ] }',
    '{ pkgs }: { packages = [ pkgs.git ]; } x',
    '{ pkgs }: { packages = [ pkgs.git ]; env.A = "x',
    '{ pkgs }: { packages = [ pkgs.git ]; /* }',
    '{ pkgs }:\u00a0{ packages = [ ]; }',
    '{ pkgs }:\r{ packages = [ ]; }',
    '{ pkgs }: { packages = [ pkgs.gït ]; }',
  ])('%s', (text) => {
    expect(readPlainConfig(text)).toBeUndefined();
  });
});
