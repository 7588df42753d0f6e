/** Every accepted shape of a config becomes an environment, with a real Nix and real builds. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluatedConfig } from '../../src/nix/evaluated-config.ts';
import type { EvaluateRequest } from '../../src/nix/evaluate.ts';
import { physicalPath } from '../../src/nix/store.ts';
import { serveFolder, type HttpFolder } from '../support/http-folder.ts';
import { makeNixFixture, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let server: HttpFolder;

beforeAll(async () => {
  fixture = await makeNixFixture();
  mkdirSync(join(fixture.root, 'www'));
  server = await serveFolder(join(fixture.root, 'www'));
});
afterAll(async () => {
  await server.close();
  await fixture.close();
});

async function evaluate(
  files: string | Record<string, string>,
  more: Partial<EvaluateRequest> = {},
): Promise<EvaluatedConfig> {
  const directory = fixture.project(typeof files === 'string' ? { 'config.nix': files } : files);
  const evaluation = await fixture.nix.evaluate(fixture.request(directory, more));
  if (!evaluation.ok) throw evaluation.error;
  return evaluation.result;
}

/** Builds the environment. @returns its output's files */
async function build(result: EvaluatedConfig) {
  const { paths } = await fixture.nix.realise([result.drvPath], { onLog: ({ line }) => console.log(line) });
  const folder = physicalPath(fixture.nix.store, paths[0]!);
  const text = readFileSync(join(folder, 'variables'), 'utf8');
  const read = (name: string) =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : undefined;
  return { path: paths[0]!, variables: parse(text), read };
}

function parse(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split('\0')
      .filter((entry) => entry !== '')
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}

function names(path: string | undefined): string[] {
  return (path ?? '').split(':').map((entry) => entry.replace(/^\/nix\/store\/.{33}/, ''));
}

/** Packs the fixture tree into the served folder. @returns its address and the tree's hash in two notations */
function packFixture(name: string, more: Record<string, string> = {}) {
  const staging = join(fixture.root, `pack-${name}`);
  execFileSync('cp', ['-r', join(fixture.root, 'nixpkgs'), staging]);
  for (const [file, content] of Object.entries(more)) writeFileSync(join(staging, file), content);
  execFileSync('tar', [
    '-czf',
    join(fixture.root, 'www', name),
    '-C',
    staging,
    '--transform',
    's,^\\.,nixpkgs-1,',
    '.',
  ]);
  const sha256 = execFileSync('nix-hash', ['--type', 'sha256', '--base32', staging], { encoding: 'utf8' }).trim();
  const base64 = Buffer.from(
    execFileSync('nix-hash', ['--type', 'sha256', staging], { encoding: 'utf8' }).trim(),
    'hex',
  ).toString('base64');
  return { url: `${server.url}/${name}`, sha256, narHash: `sha256-${base64}` };
}

describe("Berth's own shape", () => {
  it('becomes an environment with its packages, variables, hook and command', async () => {
    const result = await evaluate(`{ pkgs, ... }: {
      packages = [ pkgs.library pkgs.hello ];
      env = { GREETING = "hi \${pkgs.cowsay}"; NUMBER = 3; ON = true; OFF = false; LINES = "a\\nSECRET=b\\n"; };
      shellHook = "echo \${pkgs.cowsay}/bin";
      command = [ "\${pkgs.hello}/bin/hello" "-v" ];
      ports = [ 8080 ];
      libraries = { npm = ./package-lock.json; python = "requirements.txt"; };
    }`);
    expect(result).toMatchObject({
      packages: [
        { name: 'hello', version: '2.12', source: 'nixpkgs' },
        { name: 'library', version: '0.3', source: 'nixpkgs' },
      ],
      ports: [8080],
    });
    expect(result.libraries['npm']).toMatch(/\/project-\d+\/package-lock\.json$/);
    expect(result.libraries['python']).toMatch(/\/project-\d+\/requirements\.txt$/);

    const { variables, read, path } = await build(result);
    expect(names(variables['PATH'])).toEqual([
      'hello-2.12/bin',
      'library-0.3/bin',
      'busybox-1.35.0/bin',
      'bash-5.2/bin',
    ]);
    expect(variables).toMatchObject({ NUMBER: '3', ON: '1', OFF: '', LINES: 'a\nSECRET=b\n', IN_NIX_SHELL: 'impure' });
    expect(variables).not.toHaveProperty('SECRET');
    expect(names(variables['LIBRARY_HOME'])).toEqual(['library-0.3']);
    expect(names(variables['TEST_MODULES'])).toEqual(['library-0.3/lib/test-modules']);
    for (const name of [
      'out',
      'outputs',
      'builder',
      'HOME',
      'PWD',
      'TMPDIR',
      'NIX_BUILD_TOP',
      'NIX_BUILD_CORES',
      'TZ',
      'shellHook',
      '_',
    ]) {
      expect(variables).not.toHaveProperty(name);
    }
    expect(read('functions')).toContain('addToSearchPath ()');
    // What only the hook and the command name is in the closure too.
    const closure = await fixture.nix.closureOf([path]);
    expect(names(closure.paths.join(':'))).toEqual(expect.arrayContaining(['cowsay-3.7', 'hello-2.12', 'library-0.3']));
    expect(closure.bytes).toBeGreaterThan(1_000_000);
  });

  it('means the same whatever the order of packages, white space and comments', async () => {
    const one = await evaluate(
      '{ pkgs, ... }: { packages = [ pkgs.hello pkgs.cowsay ]; env = { A = "1"; B = "2"; }; }',
    );
    const other = await evaluate(`# a comment
      { pkgs, lib, ... }:
      let greet = pkgs.hello; in {
        env.B = "2"; env.A = "1"; # another
        packages = [ pkgs.cowsay greet ];
      }`);
    expect(other).toEqual(one);
  });

  it('may be a plain set, or be empty', async () => {
    expect(
      (await evaluate('let pkgs = import <nixpkgs> { }; in { packages = [ pkgs.hello ]; }')).packages,
    ).toHaveLength(1);
    const { variables } = await build(await evaluate('{ }'));
    expect(names(variables['PATH'])).toEqual(['busybox-1.35.0/bin', 'bash-5.2/bin']);
  });

  it('takes the package set by any name where it is the only argument', async () => {
    expect((await evaluate('p: { packages = [ p.hello ]; }')).packages.map(({ name }) => name)).toEqual(['hello']);
  });

  it('adds packages that are asked for besides', async () => {
    const result = await evaluate('{ pkgs, ... }: { packages = [ pkgs.hello ]; }', { extraPackages: ['cowsay'] });
    expect(result.packages.map(({ name }) => name)).toEqual(['cowsay', 'hello']);
  });

  it('does not load a source that it does not ask for', async () => {
    const broken = {
      kind: 'path',
      nix: { path: '/nix/store/00000000000000000000000000000000-gone' },
      storePaths: [],
    } as const;
    const sources = { pkgs: fixture.source, nixpkgs: broken };
    expect((await evaluate('{ pkgs, ... }: { packages = [ pkgs.hello ]; }', { sources })).packages).toHaveLength(1);
  });
});

describe("Replit's shape", () => {
  it('has its packages in deps', async () => {
    const result = await evaluate(
      '{ pkgs }: { deps = [ pkgs.hello ]; env = { A = pkgs.lib.makeBinPath [ pkgs.cowsay ]; }; }',
    );
    const { variables } = await build(result);
    expect(names(variables['PATH'])[0]).toBe('hello-2.12/bin');
    expect(names(variables['A'])).toEqual(['cowsay-3.7/bin']);
  });
});

describe('mkShell', () => {
  const shell = `{ pkgs ? import <nixpkgs> { } }:
    pkgs.mkShell {
      packages = [ pkgs.hello ];
      buildInputs = [ pkgs.greeter pkgs.library ];
      inputsFrom = [ pkgs.failing ];
      shellHook = "export HOOKED=1";
      FOO = "bar  baz";
      MULTI = "one\\ntwo";
    }`;

  it('keeps the order of its inputs and follows propagated ones', async () => {
    const result = await evaluate(shell);
    expect(result.shellHook.trim()).toBe('export HOOKED=1');
    const { variables } = await build(result);
    expect(names(variables['PATH']).slice(0, 3)).toEqual(['hello-2.12/bin', 'greeter-1.0/bin', 'library-0.3/bin']);
    expect(variables).toMatchObject({ FOO: 'bar  baz', MULTI: 'one\ntwo', name: 'nix-shell' });
  });

  it('gives the variables that nix-shell gives', async () => {
    const directory = fixture.project({ 'config.nix': shell });
    const evaluation = await fixture.nix.evaluate(fixture.request(directory));
    if (!evaluation.ok) throw evaluation.error;
    const { variables } = await build(evaluation.result);
    // The real nix-shell, where the store is at /nix, without the hook, which runs only when a shell is entered.
    const output = execFileSync(
      'bwrap',
      [
        ...[
          '--bind',
          join(fixture.root, 'store/nix'),
          '/nix',
          '--ro-bind',
          '/usr',
          '/usr',
          '--ro-bind',
          '/etc',
          '/etc',
        ],
        ...['--symlink', 'usr/bin', '/bin', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
        ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--ro-bind', directory, '/project'],
        ...['--clearenv', '--setenv', 'HOME', '/tmp', '--setenv', 'PATH', '/usr/bin', '--setenv', 'USER', 'nobody'],
        ...['--setenv', 'NIX_CONFIG', 'substituters =\nbuild-users-group =\nsandbox = false'],
        ...['--setenv', 'NIX_PATH', `nixpkgs=${fixture.source.storePaths[0]!}`],
        ...['--setenv', 'NIX_BUILD_SHELL', evaluation.result.shellHook && variables['SHELL']!],
        ...['--', 'nix-shell', '/project/config.nix', '--pure', '--run', 'env -0'],
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const real = parse(output);
    const ignored = [
      'HOME',
      'USER',
      'TMPDIR',
      'TEMPDIR',
      'TMP',
      'TEMP',
      'NIX_BUILD_TOP',
      'NIX_BUILD_CORES',
      'NIX_STORE',
    ];
    ignored.push('PWD', 'SHLVL', '_', 'TZ', 'out', 'outputs', 'builder', 'phases', 'buildPhase', 'shellHook');
    ignored.push('preferLocalBuild', 'IN_NIX_SHELL', 'HOOKED', 'dontAddDisableDepTrack', 'OLDPWD', 'TERM', 'SHELL');
    ignored.push('NIX_BUILD_SHELL', '__ETC_PROFILE_SOURCED', 'NIX_SSL_CERT_FILE');
    const without = (all: Record<string, string>) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => !ignored.includes(name)));
    // nix-shell puts its own shell before all else.
    real['PATH'] = real['PATH']!.split(':').slice(1).join(':');
    expect(without(variables)).toEqual(without(real));
  });

  it('honours a pinned default of `pkgs`, fetched outside the sandbox by its hash', async () => {
    const { url, sha256 } = packFixture('pinned.tar.gz', { 'marker.nix': '"pinned"' });
    const text = `{ pkgs ? import (fetchTarball { url = "${url}"; sha256 = "${sha256}"; }) { } }:
      pkgs.mkShell { packages = [ pkgs.cowsay ]; MARKER = import (fetchTarball { url = "${url}"; sha256 = "${sha256}"; } + "/marker.nix"); }`;
    const { variables } = await build(await evaluate(text));
    expect(variables['MARKER']).toBe('pinned');
    expect(server.requests.filter((path) => path === '/pinned.tar.gz').length).toBeGreaterThan(0);
    await expect(evaluate(text.replaceAll(sha256, '0'.repeat(52)))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
  });

  it('fetches a single file by its hash', async () => {
    writeFileSync(join(fixture.root, 'www/hook.sh'), 'echo fetched');
    const sha256 = execFileSync('nix-hash', ['--type', 'sha256', '--flat', join(fixture.root, 'www/hook.sh')], {
      encoding: 'utf8',
    });
    const text = `{ pkgs, ... }: { shellHook = builtins.readFile (builtins.fetchurl { url = "${server.url}/hook.sh"; sha256 = "${sha256.trim()}"; }); }`;
    expect((await evaluate(text)).shellHook).toBe('echo fetched');
  });

  it('may be any derivation, with several outputs or without a stdenv', async () => {
    const plain = await build(
      await evaluate(`{ pkgs ? import <nixpkgs> { } }: derivation {
        name = "plain"; system = "x86_64-linux"; builder = "\${pkgs.bash}/bin/bash"; outputs = [ "out" "dev" ]; FOO = "1";
      }`),
    );
    expect(plain.variables).toMatchObject({ FOO: '1', name: 'plain' });
    const package_ = await build(await evaluate('{ pkgs ? import <nixpkgs> { } }: pkgs.greeter'));
    expect(package_.variables['pname']).toBe('greeter');
  });

  it('takes structured attributes', async () => {
    const { variables } = await build(
      await evaluate(
        '{ pkgs ? import <nixpkgs> { } }: pkgs.mkShell { __structuredAttrs = true; packages = [ pkgs.hello ]; shellHook = "hook"; }',
      ),
    );
    expect(names(variables['PATH'])[0]).toBe('hello-2.12/bin');
  });

  it('adds packages that are asked for besides', async () => {
    const result = await evaluate(shell, { extraPackages: ['cowsay'] });
    expect(names((await build(result)).variables['PATH'])).toContain('cowsay-3.7/bin');
  });

  it('finds nixpkgs/lib by its path', async () => {
    const { variables } = await build(
      await evaluate('{ pkgs, ... }: { env.A = (import <nixpkgs/lib>).getName pkgs.hello; }'),
    );
    expect(variables['A']).toBe('hello');
  });

  it('passes configuration and overlays to the source', async () => {
    const text = `{ pkgs ? import <nixpkgs> { config.allowUnfree = true; overlays = [ (self: super: { both = [ self.hello super.unfree ]; }) ]; } }:
      pkgs.mkShell { packages = pkgs.both; }`;
    expect((await evaluate(text)).packages.map(({ name }) => name)).toEqual(['hello', 'unfree']);
  });
});

describe('a flake', () => {
  const outputs = (body: string) => `{
    inputs.nixpkgs.url = "github:NixOS/nixpkgs";
    outputs = { self, nixpkgs, ... }@inputs: ${body};
  }`;
  const shell = (packages: string) =>
    `{ devShells.x86_64-linux.default = nixpkgs.legacyPackages.x86_64-linux.mkShell { packages = with nixpkgs.legacyPackages.x86_64-linux; [ ${packages} ]; }; }`;

  it('has its devShell, from the default source where nixpkgs is not locked', async () => {
    const result = await evaluate({ 'flake.nix': outputs(shell('hello')) });
    expect(names((await build(result)).variables['PATH'])[0]).toBe('hello-2.12/bin');
  });

  it('takes locked inputs by their hash, with follows and relative paths', async () => {
    const flakeOfNixpkgs = `{ outputs = { self }: { legacyPackages.x86_64-linux = import ./. { system = "x86_64-linux"; }; where = "locked"; }; }`;
    const { url, narHash } = packFixture('flake.tar.gz', { 'flake.nix': flakeOfNixpkgs });
    const tree = { type: 'tarball', url, narHash };
    const lock = {
      version: 7,
      root: 'root',
      nodes: {
        root: { inputs: { nixpkgs: 'nixpkgs', tools: 'tools' } },
        nixpkgs: { locked: tree, original: tree },
        tools: { inputs: { base: ['nixpkgs'] }, locked: { type: 'path', path: './tools' }, original: {}, parent: [] },
      },
    };
    const result = await evaluate({
      'flake.nix': outputs(
        `{ devShells.x86_64-linux.default = nixpkgs.legacyPackages.x86_64-linux.mkShell {
             packages = [ nixpkgs.legacyPackages.x86_64-linux.hello ];
             WHERE = nixpkgs.where + inputs.tools.text;
           }; }`,
      ),
      'flake.lock': JSON.stringify(lock),
      'tools/flake.nix': '{ outputs = { self, base }: { text = " and " + base.where; }; }',
    });
    expect((await build(result)).variables['WHERE']).toBe('locked and locked');
  });

  it('has its own files as `self`', async () => {
    const result = await evaluate({
      'flake.nix': outputs(
        '{ devShells.x86_64-linux.default = nixpkgs.legacyPackages.x86_64-linux.mkShell { NOTE = builtins.readFile "${self}/note"; }; }',
      ),
      note: 'noted',
    });
    expect((await build(result)).variables['NOTE']).toBe('noted');
  });

  it('without the shell, or with an unlocked input, is an error', async () => {
    await expect(evaluate({ 'flake.nix': outputs('{ }') })).rejects.toMatchObject({ code: 'CONFIG_TYPE' });
    const text = '{ outputs = { self, other }: { devShells.x86_64-linux.default = other.x; }; }';
    await expect(evaluate({ 'flake.nix': text })).rejects.toMatchObject({
      code: 'CONFIG_EVALUATION',
      message: "The flake's input `other` is not in flake.lock.",
    });
  });
});

it('leaves nothing behind', () => {
  expect(readdirSync(join(fixture.root, 'nix/run')).filter((name) => name.startsWith('evaluate-'))).toEqual([]);
});
