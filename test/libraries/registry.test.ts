/** Libraries from a registry of the test's own: tokens, install scripts, native parts, what is downloaded again. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BerthError } from '../../src/core/errors.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { startNpmRegistry, type NpmRegistry } from '../support/npm-registry.ts';

let flow: Flow;
let registry: NpmRegistry;
const outside = mkdtempSync(join(tmpdir(), 'berth-npmrc-'));
const npmrc = join(outside, 'npmrc');
// Other bytes in each run: what one run leaves in the shared store is of no use to the next.
const run = Date.now().toString(36);
const numbers = Array.from({ length: 10 }, (_, at) => `number-${at}`);

beforeAll(async () => {
  registry = await startNpmRegistry();
  for (const name of [...numbers, 'another', 'unseen', 'private']) {
    registry.add(name, { 'index.js': `module.exports = ${JSON.stringify(`${name} ${run}`.repeat(100))};` });
  }
  flow = await createFlow({ variables: { BERTH_LIBRARIES_NPMRC_FILE: npmrc } });
});
afterAll(async () => {
  await flow.close();
  await registry.close();
  rmSync(outside, { recursive: true });
});

async function up(names: readonly string[], packages = 'nodejs npm') {
  const config = `{ pkgs, ... }: { packages = with pkgs; [ ${packages} ]; libraries.npm = ./package-lock.json; }`;
  const path = await flow.project({ 'config.nix': config, ...registry.project(names) });
  await flow.service.up({ path, network: 'none' }, flow.context(path));
  const berth = (await flow.service.list()).find((one) => one.directory === path);
  if (!berth) throw new Error('The berth is not there.');
  const inside = (...argv: string[]) => runIn(berth.agentSocket, argv);
  const mounts = (await inside('cat', '/proc/mounts')).stdout;
  const [, tree = ''] = /^\S+ \/work\/node_modules overlay \S*lowerdir=([^,\s]+)/m.exec(mounts) ?? [];
  return { inside, tree };
}

async function failureOf(work: Promise<unknown>): Promise<BerthError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BerthError) return error;
    throw error;
  }
  throw new Error('It did not fail.');
}

it('downloads only what no other project has, and keeps equal files once', async () => {
  const { tree: one } = await up(numbers);
  expect(registry.given).toHaveLength(10);
  const { tree: other } = await up([...numbers.slice(1), 'another']);
  expect(registry.given.slice(10)).toEqual(['/another/-/another-1.0.0.tgz']);
  expect(one).not.toBe(other);
  const inodeIn = (tree: string) => statSync(join(tree, 'number-5/index.js')).ino;
  expect(inodeIn(one)).toBe(inodeIn(other));
});

it("uses a private registry's token, which is nowhere but with the daemon", async () => {
  registry.token = `secret-${run}`;
  try {
    expect((await failureOf(up(['private']))).code).toBe('REGISTRY_DENIED');
    writeFileSync(npmrc, `//${new URL(registry.url).host}/:_authToken=${registry.token}\n`);
    const { inside, tree } = await up(['private']);
    expect((await inside('node', '-p', 'require("private").length > 0')).stdout).toBe('true\n');
    expect(JSON.stringify(flow.events)).not.toContain(registry.token);
    for (const place of [flow.home, tree]) {
      expect(() => execFileSync('grep', ['-rlaF', registry.token ?? '', place], { stdio: 'pipe' })).toThrow();
    }
  } finally {
    registry.token = undefined;
  }
});

it('shows the log of an install script that fails', async () => {
  registry.add('failing', {}, { scripts: { install: 'echo the reason is here; exit 3' } });
  const failure = await failureOf(up(['failing']));
  expect(failure.code).toBe('LIBRARY_INSTALL_FAILED');
  expect(JSON.stringify(failure.details)).toContain('the reason is here');
});

it('runs install scripts with no network and no secrets', async () => {
  const script = `
    const { connect } = require('node:net');
    const fs = require('node:fs');
    const done = (network) => {
      const homes = ['/root', '/home', process.env.HOME].map((folder) => fs.existsSync(folder) ? fs.readdirSync(folder) : []);
      fs.writeFileSync('seen.json', JSON.stringify({ network, names: Object.keys(process.env), homes: homes.flat() }));
    };
    const socket = connect(${new URL(registry.url).port}, '127.0.0.1', () => { done(true); socket.end(); });
    socket.on('error', () => done(false));`;
  registry.add('nosy', { 'look.js': script }, { scripts: { postinstall: 'node look.js' } });
  process.env['BERTH_TEST_SECRET'] = 'x';
  try {
    const { inside } = await up(['nosy']);
    const { stdout } = await inside('cat', '/work/node_modules/nosy/seen.json');
    const seen = JSON.parse(stdout) as { network: boolean; names: string[]; homes: string[] };
    expect(seen.network).toBe(false);
    expect(seen.homes).toEqual([]);
    expect(seen.names).not.toContain('BERTH_TEST_SECRET');
  } finally {
    delete process.env['BERTH_TEST_SECRET'];
  }
});

it("builds native parts by the environment's compiler and headers", async () => {
  const source = `
    #include <node_api.h>
    static napi_value it(napi_env env, napi_callback_info info) {
      napi_value value; napi_create_int32(env, 42, &value); return value;
    }
    NAPI_MODULE_INIT() { napi_value f; napi_create_function(env, "it", 2, it, NULL, &f); return f; }`;
  const binding = `{ "targets": [{ "target_name": "native", "sources": ["native.c"] }] }`;
  const files = {
    'native.c': source,
    'binding.gyp': binding,
    'index.js': `module.exports = require('./build/Release/native.node')();`,
  };
  registry.add('native', files, { gypfile: true, scripts: { install: 'node-gyp rebuild' } });
  const { inside } = await up(['native'], 'nodejs npm node-gyp libnode-dev gcc pkgs."g++" make python3');
  expect((await inside('node', '-p', 'require("native")')).stdout).toBe('42\n');
});

it('does without a registry that is away for what was downloaded, and says which is missing else', async () => {
  await registry.close();
  const { inside } = await up(numbers.slice(2));
  expect((await inside('node', '-p', 'require("number-3").length > 0')).stdout).toBe('true\n');
  expect((await failureOf(up([...numbers, 'unseen']))).code).toBe('REGISTRY_UNREACHABLE');
});
