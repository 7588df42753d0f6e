/** Packages of versions that the default source does not have: of Debian's other suites, beside the environment's own /usr. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLock } from '../../src/config/lock.ts';
import { BerthError } from '../../src/core/errors.ts';
import { createEvaluateNames } from '../../src/environment/evaluate-names.ts';
import { createPackageLocks } from '../../src/environment/package-locks.ts';
import type { SourceLocks } from '../../src/environment/source-locks.ts';
import { hostSystem } from '../../src/nix/evaluate.ts';
import { createNix } from '../../src/nix/nix.ts';
import { debianLock, debianPrepared, debianSource, debianStore } from '../support/debian-root.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { testHome } from '../support/test-home.ts';

let flow: Flow;
beforeAll(async () => {
  for (const suite of ['bookworm', 'trixie', 'sid']) await debianPrepared(suite);
  // The mirror's sid may be older than its Release file allows.
  flow = await createFlow({ variables: { BERTH_DEBIAN_CHECK_VALID_UNTIL: 'false' } });
  // What was downloaded of the suites for other tests.
  symlinkSync(join(testHome, 'debian'), join(flow.home, 'debian'));
});
afterAll(() => flow.close());

const up = (path: string) => flow.service.up({ path }, flow.context(path));

async function errorOf(work: Promise<unknown>): Promise<BerthError> {
  const error: unknown = await work.then(() => undefined).catch((failure: unknown) => failure);
  if (error instanceof BerthError) return error;
  throw new Error('It did not fail as it should.', { cause: error });
}

async function run(name: string, script: string) {
  const { agentSocket } = await flow.service.get(name);
  const result = await runIn(agentSocket, ['bash', '-c', script]);
  return { ...result, lines: result.stdout.trim().split('\n') };
}

describe('versions of several suites', () => {
  test('run side by side, each with its own libraries, and stay what they are', async () => {
    const project = await flow.project({
      'config.nix': `{ pkgs, at, ... }: {
  packages = [ pkgs.nodejs pkgs.python3 (at "nodejs" "20") (at "nodejs" ">=24") (at "python3" "3.13") (at "jq" "1.6") ];
}
`,
    });
    const { name } = await up(project);
    const versions = await run(
      name,
      `set -e
node --version; node@20 --version; 'node@>=24' --version
python3 --version; python3@3.13 --version; jq --version
node@20 -p 'require("child_process").execSync("node --version; python3 --version").toString().trim()'
node@20 -p 'process.execPath.endsWith("/node") && require("zlib").gunzipSync(require("zlib").gzipSync("zip")).toString()'
npm@20 --version
python3@3.13 -c 'import ssl, sqlite3, ctypes, subprocess; print(subprocess.check_output(["python3", "--version"], text=True).strip())'
python3@3.13 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'import sys; print(sys.version.split()[0][:4], sys.prefix)'
`,
    );
    expect(versions.stderr).toBe('');
    expect(versions.lines).toEqual([
      expect.stringMatching(/^v18\./),
      expect.stringMatching(/^v20\./),
      expect.stringMatching(/^v2[4-9]\./),
      expect.stringMatching(/^Python 3\.11\./),
      expect.stringMatching(/^Python 3\.13\./),
      'jq-1.6',
      expect.stringMatching(/^v18\./),
      expect.stringMatching(/^Python 3\.11\./),
      'zip',
      expect.stringMatching(/^\d+\./),
      expect.stringMatching(/^Python 3\.11\./),
      '3.13 /tmp/v',
    ]);
    const lock = readLock(join(project, 'berth.lock'));
    expect(Object.keys(lock.packages ?? {}).sort()).toEqual(['jq@1.6', 'nodejs@20', 'nodejs@>=24', 'python3@3.13']);
    expect(lock.packages?.['jq@1.6']?.pin).toEqual({ source: 'pkgs', attribute: 'jq' });
    const revision = lock.packages?.['nodejs@20']?.pin['source'] as string;
    expect(revision).toMatch(/^trixie-[0-9a-f]{8}$/);
    expect(lock.sources[revision]?.pin['index']).toMatchObject({
      narHash: expect.stringMatching(/^sha256:/) as string,
    });
    // Nothing is asked anew.
    expect((await flow.service.environment({ path: project }, flow.context('again'))).cache).toMatchObject({
      environment: 'hit',
      build: 'hit',
    });
  });

  test('are updated one by one, and the lock is a part of the key', async () => {
    const project = await flow.project({
      'config.nix': '{ at, ... }: { packages = [ (at "nodejs" "20") (at "python3" "3.13") ]; }\n',
    });
    await flow.service.lock(project, { update: [] }, flow.context('lock'));
    const { environment } = await flow.service.environment({ path: project }, flow.context('first'));
    // As it would be after trixie has moved on: the same revision under a label that was.
    const file = join(project, 'berth.lock');
    const before = readLock(file);
    const revision = before.packages?.['nodejs@20']?.pin['source'] as string;
    const text = readFileSync(file, 'utf8').replace('"version": "20.', '"version": "19.');
    writeFileSync(file, text);
    const explained = await flow.service.explain({ path: project }, flow.context('explain'));
    expect(JSON.stringify(explained.stages)).toContain('nodejs@20 was 20.');
    const { sources } = await flow.service.lock(project, { update: ['nodejs'] }, flow.context('update'));
    expect(sources.filter(({ changed }) => changed).map(({ name }) => name)).toEqual(['nodejs@20']);
    const after = readLock(file);
    expect(after.packages?.['nodejs@20']).toEqual(before.packages?.['nodejs@20']);
    expect(after.packages?.['python3@3.13']).toEqual(before.packages?.['python3@3.13']);
    expect(Object.keys(after.sources)).toContain(revision);
    const again = await flow.service.environment({ path: project }, flow.context('second'));
    expect(again.environment.digest).toBe(environment.digest);
  });

  test('have plain names where no other version is', async () => {
    const project = await flow.project({ 'config.nix': '{ at, ... }: { packages = [ (at "nodejs" "20") ]; }\n' });
    const { name } = await up(project);
    expect((await run(name, 'node --version; node@20 --version; npm --version')).lines).toEqual([
      expect.stringMatching(/^v20\./),
      expect.stringMatching(/^v20\./),
      expect.stringMatching(/^\d+\./),
    ]);
  });

  test('are found and added by their names', async () => {
    const project = await flow.project({ 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.jq ]; }\n' });
    const context = flow.context('search');
    const found = await flow.service.search(project, 'nodejs@20', 10, context);
    expect(found[0]).toMatchObject({ name: 'nodejs', source: 'debian trixie' });
    expect((await flow.service.search(project, 'nodejs@*', 10, context)).map(({ source }) => source)).toEqual(
      expect.arrayContaining(['debian bookworm', 'debian trixie', 'debian sid']),
    );
    await flow.service.addPackages(project, ['nodejs@20'], context);
    expect(readFileSync(join(project, 'config.nix'), 'utf8')).toBe(
      '{ pkgs, at, ... }: { packages = [ pkgs.jq (at "nodejs" "20") ]; }\n',
    );
    expect(readLock(join(project, 'berth.lock')).packages?.['nodejs@20']?.version).toMatch(/^20\./);
  });
});

test('names of a registry may have versions', async () => {
  const nix = createNix({
    store: debianStore,
    nixFolder: join(repository, 'nix'),
    home: join(flow.home, 'nix-names'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  try {
    const debian = debianSource();
    const sources = { debian, nixpkgs: debian, path: debian };
    const names = createEvaluateNames({
      nix,
      sources,
      packages: createPackageLocks({ sources, locks: {} as SourceLocks }),
      evaluator: { system: hostSystem(), allowUnfree: false },
      folder: join(flow.home, 'names'),
    });
    const locked = await debianLock('bookworm');
    const { config } = await names(['jq', 'nodejs@20'], locked, flow.context('names'));
    expect(config.packages).toEqual([
      expect.objectContaining({ name: 'jq', source: 'debian' }),
      expect.objectContaining({
        name: 'nodejs',
        version: expect.stringMatching(/^20\./) as string,
        source: 'debian trixie',
      }),
    ]);
    for (const name of ['nodejs@"', 'nodejs@', 'no${x}de@18']) {
      await expect(names([name], locked, flow.context('names'))).rejects.toBeInstanceOf(BerthError);
    }
  } finally {
    await nix.close();
  }
});

describe("a version that can't be had", () => {
  const failing = async (config: string) => {
    const project = await flow.project({ 'config.nix': config });
    const error = await errorOf(flow.service.environment({ path: project }, flow.context('fails')));
    return { error, lock: readLock(join(project, 'berth.lock')) };
  };

  test('is answered with those that there are, the nearest first, and their sources', async () => {
    const { error, lock } = await failing('{ at, ... }: { packages = [ (at "nodejs" "19") ]; }\n');
    expect(error.code).toBe('VERSION_UNKNOWN');
    expect(error.message).toMatch(
      /^There is no nodejs 19; there is 20\.[\d.]+ \(debian trixie\), 18\.[\d.]+ \(debian bookworm\)/,
    );
    expect(lock.packages).toBeUndefined();
  });

  test('of a package that is nowhere is answered with names', async () => {
    const { error } = await failing('{ at, ... }: { packages = [ (at "nodejss" "18") ]; }\n');
    expect(error).toMatchObject({ code: 'UNKNOWN_PACKAGE', hint: expect.stringContaining('nodejs') as string });
  });

  test('is refused when it is no version', async () => {
    const { error } = await failing('{ at, ... }: { packages = [ (at "nodejs" ">=") ]; }\n');
    expect(error.code).toBe('VERSION_INVALID');
    expect((await failing('{ at, ... }: { packages = [ (at "nodejs" 18) ]; }\n')).error.code).toBe('CONFIG_TYPE');
  });

  test('can not be beside /usr where it would have to be in it', async () => {
    const { error } = await failing('{ pkgs, at, ... }: { packages = [ pkgs.gcc (at "gcc" "14") ]; }\n');
    expect(error.code).toBe('VERSION_NOT_BESIDE');
    expect(error.message).toMatch(/debian (trixie|forky|sid)/);
  });
});
