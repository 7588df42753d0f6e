/** Packages from outside of the sources really run: of npm, PyPI, crates, Go modules, and by an address. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { readLock } from '../../src/config/lock.ts';
import { BerthError } from '../../src/core/errors.ts';
import { debianPrepared, evaluateDebian } from '../support/debian-root.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';

let flow: Flow;
beforeAll(async () => {
  flow = await createFlow();
});
afterAll(() => flow.close());

/** Runs a test's work; where the registry can't be reached, the test is skipped by its name. */
async function online<T>(context: TestContext, registry: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const away = error instanceof BerthError && ['REGISTRY_UNREACHABLE', 'MIRROR_UNREACHABLE'].includes(error.code);
    if (away) context.skip(`the registry ${registry} cannot be reached: ${error.message}`);
    throw error;
  }
}

async function start(config: string) {
  const project = await flow.project({ 'config.nix': config });
  const { name } = await flow.service.up({ path: project }, flow.context(project));
  const { agentSocket } = await flow.service.get(name);
  const run = (script: string) => runIn(agentSocket, ['bash', '-c', script]);
  return { project, run, lock: readLock(join(project, 'berth.lock')) };
}

async function errorOf(config: string): Promise<BerthError> {
  const project = await flow.project({ 'config.nix': config });
  const failure: unknown = await flow.service
    .environment({ path: project }, flow.context('fails'))
    .then(() => undefined)
    .catch((error: unknown) => error);
  if (failure instanceof BerthError) return failure;
  throw new Error('It did not fail as it should.', { cause: failure });
}

describe('npm', () => {
  test('a tool runs, by Node of the default source', async (context) => {
    const { run, lock } = await online(context, 'npm', () =>
      start('{ npm, ... }: { packages = [ (npm "typescript" "5.4.5") ]; }\n'),
    );
    expect((await run('tsc --version')).stdout).toBe('Version 5.4.5\n');
    expect(lock.packages?.['npm:typescript@5.4.5']).toMatchObject({ version: '5.4.5', origin: 'npm', outside: true });
    expect(JSON.stringify(lock.packages)).toMatch(/"hash":"sha512-/);
  });

  test('a tool with dependencies runs, and a range takes the newest', async (context) => {
    const { run } = await online(context, 'npm', () =>
      start('{ npm, ... }: { packages = [ (npm "semver" "^7.5") (npm "rimraf" "5") ]; }\n'),
    );
    expect((await run('semver -r ">=1.2" 1.2.3 1.1.0')).stdout).toBe('1.2.3\n');
    expect((await run('mkdir /tmp/x && rimraf /tmp/x && ls /tmp')).stdout).not.toContain('x');
  });

  test('a version that there is not is answered with the nearest', async (context) => {
    const error = await errorOf('{ npm, ... }: { packages = [ (npm "typescript" "5.4.99") ]; }\n');
    if (error.code === 'REGISTRY_UNREACHABLE') context.skip('the registry npm cannot be reached');
    expect(error).toMatchObject({
      code: 'VERSION_UNKNOWN',
      message: expect.stringMatching(/5\.4\.5 \(npm\)/) as string,
    });
  });
});

describe('pypi', () => {
  test('a tool that is a program runs', async (context) => {
    const { run, lock } = await online(context, 'pypi', () =>
      start('{ pypi, ... }: { packages = [ (pypi "ruff" "0.6.9") ]; }\n'),
    );
    expect((await run('ruff --version')).stdout).toBe('ruff 0.6.9\n');
    expect(lock.packages?.['pypi:ruff@0.6.9']).toMatchObject({ version: '0.6.9', origin: 'pypi', outside: true });
  });

  test('a tool in Python runs with its dependencies', async (context) => {
    const { run } = await online(context, 'pypi', () =>
      start('{ pypi, ... }: { packages = [ (pypi "black" "24.4.2") ]; }\n'),
    );
    expect((await run("echo 'x   = 1' | black -q -")).stdout).toBe('x = 1\n');
  });

  test('a version that there is not is answered with the nearest', async (context) => {
    const error = await errorOf('{ pypi, ... }: { packages = [ (pypi "ruff" "0.6.99") ]; }\n');
    if (error.code === 'REGISTRY_UNREACHABLE') context.skip('the registry pypi cannot be reached');
    expect(error).toMatchObject({
      code: 'VERSION_UNKNOWN',
      message: expect.stringMatching(/0\.6\.9 \(pypi\)/) as string,
    });
  });
});

test('a crate is compiled and runs', async (context) => {
  const { run, lock } = await online(context, 'crates', () =>
    start('{ crate, ... }: { packages = [ (crate "shellharden" "4.3.0") ]; }\n'),
  );
  expect((await run('shellharden --version')).stdout).toBe('4.3.0\n');
  expect(lock.packages?.['crate:shellharden@4.3.0']).toMatchObject({ origin: 'crates', outside: true });
});

test('a crate in a version that there is not is answered with the nearest', async (context) => {
  const error = await errorOf('{ crate, ... }: { packages = [ (crate "shellharden" "4.99.0") ]; }\n');
  if (error.code === 'REGISTRY_UNREACHABLE') context.skip('the registry crates cannot be reached');
  expect(error).toMatchObject({
    code: 'VERSION_UNKNOWN',
    message: expect.stringMatching(/4\.3\.\d \(crates\)/) as string,
  });
});

test('a program of a Go module is built and runs', async (context) => {
  const { run, lock } = await online(context, 'go', () =>
    start('{ goModule, ... }: { packages = [ (goModule "mvdan.cc/sh/v3/cmd/shfmt" "v3.5.1") ]; }\n'),
  );
  expect((await run("echo 'if true;then   :;fi' | shfmt")).stdout).toBe('if true; then :; fi\n');
  expect(lock.packages?.['goModule:mvdan.cc/sh/v3/cmd/shfmt@v3.5.1']).toMatchObject({
    origin: 'go',
    outside: true,
    pin: { sum: expect.stringMatching(/^h1:/) as string },
  });
});

describe('an address', () => {
  let server: Server;
  let address: string;
  let body = '#!/bin/sh\necho from an address\n';
  beforeAll(async () => {
    server = createServer((_, response) => response.end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tool`;
  });
  afterAll(() => void server.close());

  test('is pinned by what is there when it is first asked for, and refused when it is something else', async () => {
    const { project, run, lock } = await start(`{ url, ... }: { packages = [ (url "tool" "${address}") ]; }\n`);
    expect((await run('tool')).stdout).toBe('from an address\n');
    const hash = `sha256-${createHash('sha256').update(body).digest('base64')}`;
    expect(lock.packages?.[`url:tool@${address}`]).toMatchObject({ outside: true, pin: { hash } });
    // Another hash: what is there is not that.
    const file = join(project, 'berth.lock');
    const other = `sha256-${createHash('sha256').update('other').digest('base64')}`;
    writeFileSync(file, readFileSync(file, 'utf8').replace(hash, other));
    await expect(flow.service.environment({ path: project }, flow.context('other'))).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
    });
  });

  test('may be given with its hash', async () => {
    body = '#!/bin/sh\necho pinned\n';
    const hash = `sha256-${createHash('sha256').update(body).digest('base64')}`;
    const { run, lock } = await start(
      `{ url, ... }: { packages = [ (url "tool" { url = "${address}"; hash = "${hash}"; version = "1.0"; }) ]; }\n`,
    );
    expect((await run('tool')).stdout).toBe('pinned\n');
    expect(lock.packages).toBeUndefined();
  });
});

test('a package of the source takes another file, with what else it needs from the source', async () => {
  const entry = '{ inherit (pkgs.debian.archive.members.hello.entry) file sha256; }';
  const { file = '', sha256 = '' } = (await evaluateDebian('bookworm', entry)) as Record<string, string>;
  const [mirror = ''] = ((await debianPrepared('bookworm')).nix['mirrors'] as { main: string[] }).main;
  const hash = `sha256-${Buffer.from(sha256, 'hex').toString('base64')}`;
  const config = (wanted: string) =>
    `{ pkgs, override, ... }: { packages = [ (override pkgs.hello { version = "9.9-1"; url = "${mirror}/${file}"; hash = "${wanted}"; }) ]; }\n`;
  const { run, project } = await start(config(hash));
  expect((await run('hello')).stdout).toBe('Hello, world!\n');
  const { environment } = await flow.service.environment({ path: project }, flow.context('override'));
  expect(environment.closure.paths.some((path) => path.includes('hello-9.9-1'))).toBe(true);
  const other = `sha256-${createHash('sha256').update('other').digest('base64')}`;
  expect(await errorOf(config(other))).toMatchObject({ code: 'HASH_MISMATCH' });
});
