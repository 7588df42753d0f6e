/** Nix within a berth: the config means inside what it means outside, and what is missing comes into the shared store. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatLock } from '../../src/config/lock.ts';
import { findOnPath } from '../../src/daemon/settings.ts';
import { createNixProcess, programsIn } from '../../src/nix/nix-process.ts';
import { debianLock } from '../support/debian-root.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { testHome } from '../support/test-home.ts';

let flow: Flow;
let project: string;
let name: string;

const config = (packages: string) => `{ pkgs }: {
  packages = [ ${packages} ];
  env.GREETING = "hello from \${pkgs.writeText "who" "berth"}";
  shellHook = "export HOOKED=yes";
}
`;

beforeAll(async () => {
  flow = await createFlow();
  project = await flow.project({ 'config.nix': config('pkgs.jq') });
  name = (await flow.service.up({ path: project, withNix: true }, flow.context('up'))).name;
});
afterAll(() => flow.close());

async function inside(script: string) {
  const { agentSocket } = await flow.service.get(name);
  return runIn(agentSocket, ['sh', '-c', script]);
}

function variablesOf(text: string): Map<string, string> {
  return new Map(
    text.split('\0').flatMap((entry) => {
      const equals = entry.indexOf('=');
      return equals > 0 ? [[entry.slice(0, equals), entry.slice(equals + 1)] as const] : [];
    }),
  );
}

/** What nix-shell sets for a shell of its own, and the program that prints the variables. */
const ofTheShell = new Set([
  ...['IN_NIX_SHELL', 'NIX_BUILD_TOP', 'NIX_BUILD_CORES', 'NIX_BUILD_SHELL', 'NIX_STORE'],
  ...['TMP', 'TMPDIR', 'TEMP', 'TEMPDIR', 'SHLVL', 'PWD', 'OLDPWD', '_'],
]);

describe('nix-shell', () => {
  test('gives the variables of the outside way', async () => {
    const outside = await flow.service.environment({ path: project, withNix: true }, flow.context('env'));
    const result = await inside("nix-shell config.nix --run 'env -0'");
    expect(result.stderr).toBe('');
    const found = variablesOf(result.stdout);
    for (const [key, value] of Object.entries(outside.environment.variables)) {
      if (ofTheShell.has(key)) continue;
      // The caller's own folders follow, as in every impure nix-shell.
      if (key === 'PATH') expect(found.get(key)?.startsWith(`${value}:`)).toBe(true);
      else expect([key, found.get(key)]).toEqual([key, value]);
    }
    expect(found.get('HOOKED')).toBe('yes');
    // Nothing of the derivation that nix-shell enters is left.
    const caller = variablesOf((await inside('env -0')).stdout);
    const more = [...found.keys()].filter((key) => !caller.has(key) && !ofTheShell.has(key));
    expect(more).toEqual([]);
  });

  test('finds the config by itself, takes nix-shell options, and can be pure', async () => {
    expect((await inside("nix-shell --run 'echo $GREETING'")).stdout).toMatch(/^hello from \/nix\/store\/.*-who\n$/);
    const pure = await inside("LEAK=1 nix-shell --pure --run 'echo ${LEAK-none} $HOOKED; echo $PATH'");
    expect(pure.stdout).toMatch(/^none yes\n\/nix\/store\/[^:]*\/bin:\/usr\/bin:\/usr\/sbin\n$/);
    expect((await inside('nix-shell --run "exit 7"')).code).toBe(7);
    expect(
      (await inside("cd /tmp && nix-shell '/work/config.nix' --command 'cat ${GREETING#hello from }'")).stdout,
    ).toBe('berth');
  });

  test('brings a package that was added into the shared store, where it works', async () => {
    writeFileSync(join(project, 'config.nix'), config('pkgs.jq pkgs.ripgrep pkgs.sqlite'));
    const script = 'rg -c GREETING config.nix; echo "select 6 * 7;" | sqlite3; echo 5 | jq . ; command -v rg';
    const result = await inside(`nix-shell --run '${script}'`);
    expect(result.stdout).toMatch(/^1\n42\n5\n\/nix\/store\/[^/]*-fhs\/usr\/bin\/rg\n$/);
    const program = result.stdout.trim().split('\n').at(-1) ?? '';
    expect(existsSync(join(testHome, 'store', program.replace(/\/usr\/bin\/rg$/, '')))).toBe(true);
    // The outside way finds it built.
    const outside = await flow.service.environment({ path: project, withNix: true }, flow.context('env'));
    expect(outside.environment.fhs).toBe(program.replace(/\/usr\/bin\/rg$/, ''));
    writeFileSync(join(project, 'config.nix'), config('pkgs.jq'));
  });

  test('takes mkShell with <nixpkgs>, the source of the lock', async () => {
    const shell = `{ pkgs ? import <nixpkgs> { } }:
pkgs.mkShell { packages = [ pkgs.jq ]; FOO = "x"; shellHook = "echo hooked"; }`;
    mkdirSync(join(project, 'sub'), { recursive: true });
    writeFileSync(join(project, 'sub/shell.nix'), shell);
    expect((await inside("cd sub && nix-shell --run 'echo $FOO; jq -n 3'")).stdout).toBe('hooked\nx\n3\n');
  });

  test('passes other uses on', async () => {
    expect((await inside("nix-shell -p ripgrep --run 'rg --version'")).stdout).toMatch(/^ripgrep/);
    expect((await inside('nix-shell --version')).stdout).toMatch(/\(Nix\) \d/);
    const expression = 'with import <nixpkgs> { }; mkShell { BAR = "b"; }';
    expect((await inside(`nix-shell -E '${expression}' --run 'echo $BAR'`)).stdout).toBe('b\n');
    expect((await inside("nix-instantiate --eval -E '(import <nixpkgs> { }).jq.version'")).stdout).toMatch(/^"1\./);
  });

  test('says what is wrong with a config', async () => {
    const fails = async (text: string) => {
      mkdirSync(join(project, 'wrong'), { recursive: true });
      writeFileSync(join(project, 'wrong/config.nix'), text);
      const result = await inside('cd wrong && nix-shell --run true');
      expect(result.code).toBe(1);
      return result.stderr;
    };
    expect(await fails('{ pkgs }: { packages = [ pkgs.jqq ]; }')).toMatch(
      /attribute 'jqq' missing[\s\S]*config\.nix:1/,
    );
    expect(await fails('{ pkgs }: { package = [ ]; }')).toMatch(/UNKNOWN_KEY.*package/);
    expect(await fails('{ nixpkgs }: { packages = [ nixpkgs.jq ]; }')).toMatch(
      /SOURCE_NEEDED.*nixpkgs[\s\S]*berth lock/,
    );
    expect(await fails('{ pkgs }: {')).toMatch(/syntax error/);
  });
});

describe('the store', () => {
  test('is read-only but for what the daemon does', async () => {
    expect((await inside('id -u')).stdout).toBe('0\n');
    const result = await inside('touch /nix/store/x; touch $(readlink -f $(command -v jq)); ls /nix/var/nix');
    expect(result.stderr).toMatch(/\/nix\/store\/x.*Read-only file system/);
    expect(result.stderr.match(/Read-only file system/g)).toHaveLength(2);
    // Of the store's own state only the socket is there.
    expect(result.stdout).toBe('daemon-socket\n');
  });

  test('takes no substituter, key or setting from an untrusted client', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const options = [
        `--option substituters ${url}`,
        `--option extra-substituters ${url}`,
        `--option trusted-substituters ${url}`,
        '--option trusted-public-keys evil-1:AAAA',
        '--option require-sigs false',
        '--option sandbox false',
      ].join(' ');
      const missing = '/nix/store/00000000000000000000000000000000-missing';
      const substituted = await inside(`nix-store --realise ${missing} ${options}`);
      expect(substituted.code).not.toBe(0);
      expect(asked).toEqual([]);
      // Out of its sandbox, a build would see the host.
      const derivation = `derivation {
        name = "seen-\${toString builtins.currentTime}"; system = builtins.currentSystem;
        builder = "/bin/sh"; args = [ "-c" "echo /* > $out" ]; }`;
      const built = await inside(`cat $(nix-build --no-out-link -E '${derivation}' ${options})`);
      expect(built.stdout).toMatch(/\/proc/);
      expect(built.stdout).not.toMatch(/\/(home|root|var|work)/);
      expect(asked).toEqual([]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    expect(
      (await inside('nix-store --verify-path $(dirname $(dirname $(dirname $(command -v nix-shell))))')).code,
    ).toBe(0);
  });

  test('takes no path that nobody has signed, and no key', async () => {
    // A path as a client may make it: built elsewhere, in a cache of its own, signed with a key of its own.
    const own = createNixProcess({
      store: { kind: 'managed', root: join(flow.home, 'own') },
      programs: programsIn(),
      home: join(flow.home, 'own-nix'),
      settings: { substituters: [], trustedPublicKeys: [], sandboxShell: findOnPath('busybox') ?? '/bin/busybox' },
      environment: { PATH: process.env['PATH'] ?? '' },
    });
    const expression = `derivation {
      name = "evil"; system = builtins.currentSystem; builder = "/bin/sh";
      args = [ "-c" "echo evil > $out" ]; }`;
    const drv = await own.require('nix-instantiate', ['-E', expression]);
    const path = (await own.require('nix-store', ['--realise', drv.trim()])).trim();
    const [secret, key] = [join(flow.home, 'secret'), join(project, 'public')];
    await own.require('nix-store', ['--generate-binary-cache-key', 'evil-1', secret, key]);
    await own.require('nix', ['store', 'sign', '--key-file', secret, path]);
    await own.require('nix', ['copy', '--to', `file://${project}/cache`, path]);
    // Exports are bytes, which a shell keeps as they are.
    execFileSync('sh', ['-c', `nix-store --store ${own.store.root} --export ${path} > ${project}/export`], {
      stdio: 'pipe',
    });
    const attempts = [
      `nix copy --from file:///work/cache ${path} --to daemon`,
      `nix copy --from file:///work/cache ${path} --to daemon --no-check-sigs`,
      `nix copy --from file:///work/cache ${path} --to daemon --option trusted-public-keys "$(cat /work/public)"`,
      'nix-store --import < /work/export',
    ];
    for (const attempt of attempts) {
      const result = await inside(attempt);
      expect([attempt, result.code]).not.toEqual([attempt, 0]);
      expect(existsSync(join(testHome, 'store', path))).toBe(false);
    }
    // The daemon goes on.
    expect((await inside("nix-shell --run 'echo fine'")).stdout).toBe('fine\n');
  });
});

test("trixie's Nix works in a berth as bookworm's does", async () => {
  const lock = formatLock({ sources: { pkgs: await debianLock('trixie') } });
  const path = await flow.project({ 'berth.lock': lock, 'config.nix': config('pkgs.jq') });
  const berth = await flow.service.up({ path, withNix: true }, flow.context('trixie'));
  const { agentSocket } = await flow.service.get(berth.name);
  const run = async (script: string) => (await runIn(agentSocket, ['sh', '-c', script])).stdout;
  expect(await run('nix --version')).toMatch(/ 2\.26\./);
  expect(await run("nix-shell --run 'echo $HOOKED ${GREETING%% *}; jq -n 1'")).toBe('yes hello\n1\n');
  writeFileSync(join(path, 'config.nix'), config('pkgs.jq pkgs.ripgrep'));
  expect(await run("nix-shell --pure --run 'rg -c GREETING config.nix'")).toBe('1\n');
});

describe('the daemon that containers speak to', () => {
  test('is there again after a restart of Berth', async () => {
    await flow.restart();
    expect((await inside("nix-shell --run 'echo $HOOKED'")).stdout).toBe('yes\n');
  });

  test('is there again for a berth that is started after a restart', async () => {
    await flow.service.stop(name, 1000);
    await flow.restart();
    await flow.service.start(name, flow.context('start'));
    expect((await inside("nix-shell --run 'echo $HOOKED'")).stdout).toBe('yes\n');
  });
});
