/** The package set that a config sees: closures, errors, shells and prefixes, over the real archive of bookworm. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  debianNix,
  debianPrepared,
  debianView,
  evaluateDebian,
  evaluateDebianWith,
  runInDebianRoot,
} from '../support/debian-root.ts';

const bookworm = (expression: string) => evaluateDebian('bookworm', expression);
const names = async (expression: string) => z.array(z.string()).parse(await bookworm(expression));

async function build(expression: string): Promise<string> {
  return (
    await debianNix.require('nix-store', ['--realise', String(await bookworm(`(${expression}).drvPath`))])
  ).trim();
}

describe('closures', () => {
  const closure = (list: string) => names(`map (member: member.name) (pkgs.debian.closure [ ${list} ])`);

  test('hold what the packages depend on and nothing that only installing needs', async () => {
    const found = await closure('"git"');
    expect(found).toEqual(expect.arrayContaining(['git', 'git-man', 'libc6', 'libcurl3-gnutls', 'perl', 'zlib1g']));
    for (const name of ['dpkg', 'debconf', 'git-doc', 'patch']) expect(found).not.toContain(name);
  });

  test('take a candidate that the config names before the first one', async () => {
    // ffmpeg's libraries accept either build of libavcodec; the extra one is the second choice.
    expect(await closure('"ffmpeg"')).toContain('libavcodec59');
    const extra = await closure('"ffmpeg" "libavcodec-extra59"');
    expect(extra).toContain('libavcodec-extra59');
    expect(extra).not.toContain('libavcodec59');
  });

  test('and views do not depend on the order of packages', async () => {
    const view = (list: string) => bookworm(`(pkgs.fhsView { packages = with pkgs; [ ${list} ]; }).drvPath`);
    expect(await view('git jq ripgrep')).toBe(await view('ripgrep git jq'));
  });

  test('a package that is there for arm64 evaluates and has its own fetches', async () => {
    const drv = await evaluateDebianWith('bookworm', { system: 'aarch64-linux' }, 'pkgs.jq.drvPath');
    expect(drv).toMatch(/jq-1\.6/);
  });
});

describe('errors', () => {
  const failure = (expression: string) =>
    bookworm(expression).then(
      () => 'no error',
      (error: unknown) => JSON.stringify((error as { details?: unknown }).details),
    );

  test('an unfree package is named with its component, and is there when it is allowed', async () => {
    expect(await failure('pkgs.rar.drvPath')).toContain('UNFREE_PACKAGE');
    expect(await failure('(pkgs.mkShell { packages = [ pkgs.rar ]; }).drvPath')).toContain('non-free');
    expect(await evaluateDebianWith('bookworm', { allowUnfree: true }, 'pkgs.rar.drvPath')).toContain('rar');
  });

  test('packages that cannot be together are both named', async () => {
    const message = await failure('pkgs.debian.closure [ "libcurl4-openssl-dev" "libcurl4-gnutls-dev" ]');
    expect(message).toMatch(/PACKAGES_CONFLICT.*libcurl4-gnutls-dev.*libcurl4-openssl-dev/);
  });

  test('a package that the suite cannot complete is named with what it lacks', async () => {
    const broken = await names(
      `map (member: member.name) (builtins.filter (member: member.entry ? unmet && member.entry.component == "main")
        (builtins.attrValues pkgs.debian.archive.members))`,
    );
    expect(broken.length).toBeGreaterThan(0);
    expect(await failure(`pkgs."${broken[0] ?? ''}".drvPath`)).toMatch(/BROKEN_PACKAGE.*dependency/);
  });

  test('an unknown name is Nix’s own error', async () => {
    expect(await failure('pkgs.ripgrpe')).toContain("attribute 'ripgrpe' missing");
  });

  test('asking for a name evaluates nothing of the package', async () => {
    expect(await bookworm('{ inherit (pkgs.rar) name; unfree = pkgs.rar.meta.unfree; }')).toMatchObject({
      unfree: true,
    });
  });
});

describe('mkShell', () => {
  test('takes packages, variables, hooks and other shells', async () => {
    const shell = await bookworm(`
      let
        other = pkgs.mkShell { buildInputs = [ pkgs.ripgrep ]; shellHook = "echo other"; };
        shell = pkgs.mkShell {
          name = "mine"; packages = [ pkgs.jq (pkgs.writeShellScriptBin "hi" "echo hi") ]; inputsFrom = [ other ];
          env.A = "1"; B = 2; C = null; shellHook = "echo mine";
        };
      in {
        inherit (shell) name shellHook; inherit (shell.drvAttrs) A B; hasC = shell.drvAttrs ? C;
        path = shell.drvAttrs.berthPath; inputs = map (input: input.name) shell.nativeBuildInputs;
        changed = (shell.overrideAttrs (old: { shellHook = old.shellHook + "!"; })).shellHook;
      }`);
    expect(shell).toMatchObject({
      name: 'mine',
      shellHook: 'echo other\necho mine',
      A: '1',
      B: 2,
      hasC: false,
      path: expect.stringMatching(/-hi\/bin$/) as unknown,
      inputs: [expect.stringMatching(/^jq-/), 'hi', expect.stringMatching(/^ripgrep-/)] as unknown,
      changed: expect.stringMatching(/echo mine!$/) as unknown,
    });
  });

  test('its builder can run another script, and setup gives it the paths of any Debian', async () => {
    const script = '(builtins.toFile "script.sh" ". $stdenv/setup; env > $out; echo | sed s/^/sed/ >> $out")';
    const out = await build(
      `let shell = pkgs.mkShell { packages = [ pkgs.go ]; }; in derivation (shell.drvAttrs // { args = [ ${script} ]; })`,
    );
    const view = await debianView('bookworm', ['coreutils']);
    const lines = (await runInDebianRoot(view, `cat ${out}`)).stdout.split('\n');
    expect(lines).toContain('PATH=/usr/lib/go-1.19/bin:/usr/bin:/usr/sbin');
    expect(lines).toContain('GOROOT=/usr/lib/go-1.19');
    expect(lines).toContain('sed');
    expect(lines.filter((line) => line.startsWith('LD_LIBRARY_PATH='))).toEqual([]);
  });
});

describe('paths in text', () => {
  test('a package as text is a prefix that has its dependencies', async () => {
    const script = await build(
      'pkgs.writeShellScript "script" "${pkgs.python3}/bin/python3 -c \'import json, sys; print(sys.prefix)\'; ${pkgs.lib.getExe pkgs.jq} -n 1"',
    );
    const view = await debianView('bookworm', ['coreutils']);
    const result = await runInDebianRoot(view, script);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(/^\/nix\/store\/[^/]*python3[^/]*\/\.berth\/wrapped\n1\n$/);
  });

  test('the small builders make what they say', async () => {
    const out = await build(`
      pkgs.symlinkJoin { name = "joined"; paths = [
        (pkgs.writeTextDir "share/note" "text") (pkgs.writeShellScriptBin "say" "cat $(dirname $0)/../share/note")
        (pkgs.runCommand "made" { word = "x"; } "mkdir -p $out/share; echo $word | sed 's/x/y/' > $out/share/other") ]; }`);
    const view = await debianView('bookworm', ['coreutils']);
    const result = await runInDebianRoot(view, `${out}/bin/say; cat ${out}/share/other`);
    expect(result).toMatchObject({ code: 0, stdout: 'texty\n', stderr: '' });
  });
});

describe('views', () => {
  test('an alternative is the one that the config names, else the one of the highest priority', async () => {
    const awk = async (packages: readonly string[]) =>
      (await runInDebianRoot(await debianView('bookworm', packages), 'readlink -f /usr/bin/awk')).stdout;
    expect(await awk(['coreutils'])).toMatch(/mawk\n$/);
    expect(await awk(['gawk'])).toMatch(/gawk\n$/);
    expect(await awk(['gawk', 'original-awk'])).toMatch(/gawk\n$/);
    expect(await awk(['mawk', 'original-awk'])).toMatch(/mawk\n$/);
  });

  test('users are those of the packages, with the same numbers in every view', async () => {
    const user = async (packages: readonly string[]) =>
      (await runInDebianRoot(await debianView('bookworm', packages), 'getent passwd redis')).stdout;
    const one = await user(['redis']);
    expect(one).toMatch(/^redis:x:\d{3}:\d+:/);
    expect(await user(['redis', 'postgresql', 'memcached'])).toBe(one);
  });

  test('in a container whose /usr is another view, setup leads to this one', async () => {
    const { view } = await debianView('bookworm', ['jq', 'ffmpeg']);
    const other = await debianView('bookworm', ['coreutils']);
    const script = `berthFhs=${view}; . ${await setupPath()}; command -v jq; jq -n 1; ffmpeg -version | head -1 | cut -c1-14`;
    const result = await runInDebianRoot(other, script);
    expect(result).toMatchObject({ code: 0, stderr: '', stdout: `${view}/usr/bin/jq\n1\nffmpeg version\n` });
  });
});

async function setupPath(): Promise<string> {
  await debianPrepared('bookworm');
  return `${String(await bookworm('"${pkgs.stdenv}"'))}/setup`;
}
