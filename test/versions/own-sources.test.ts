/** A user's own sources: a folder, a tarball, a git revision and a flake, with overlays. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatLock, readLock } from '../../src/config/lock.ts';
import { createFlow, type Flow } from '../support/flow.ts';
import { serveFolder, type HttpFolder } from '../support/http-folder.ts';
import { makeNixFixture, makeNixpkgs, removeStore, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let server: HttpFolder;
let flow: Flow;
let rev: string;

/** The tree, with hello of that version. */
function tree(name: string, version: string): string {
  const folder = makeNixpkgs(join(fixture.root, name));
  const file = join(folder, 'pkgs/default.nix');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"hello" "2.12"', `"hello" "${version}"`));
  return folder;
}

beforeAll(async () => {
  fixture = await makeNixFixture();
  const www = join(fixture.root, 'www');
  mkdirSync(www);
  server = await serveFolder(www);
  tree('tarball', '3.0');
  execFileSync('tar', ['-czf', join(www, 'tree.tar.gz'), '-C', fixture.root, 'tarball']);
  const git = tree('git', '4.0');
  const run = (...args: string[]) => execFileSync('git', ['-C', git, ...args], { encoding: 'utf8' });
  run('init', '-q', '-b', 'main');
  run('add', '-A', '-f');
  run('-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '-qm', 'tree');
  rev = run('rev-parse', 'HEAD').trim();
  execFileSync('git', ['clone', '-q', '--bare', git, join(www, 'tree.git')]);
  execFileSync('git', ['-C', join(www, 'tree.git'), 'update-server-info']);
  const flake = tree('flake', '5.0');
  execFileSync('mv', [join(flake, 'default.nix'), join(flake, 'all.nix')]);
  writeFileSync(
    join(flake, 'flake.nix'),
    '{ outputs = { self }: { legacyPackages.x86_64-linux = import ./all.nix { system = "x86_64-linux"; }; }; }\n',
  );
  flow = await createFlow({
    storeRoot: join(fixture.root, 'store'),
    variables: { BERTH_SOURCE: 'nixpkgs', BERTH_NIXPKGS_URL: makeNixpkgs(join(fixture.root, 'default')) },
  });
});
afterAll(async () => {
  await flow.close();
  await server.close();
  await fixture.nix.close();
  removeStore(fixture.root);
});

async function closureWith(source: string) {
  const project = await flow.project({
    'config.nix': `{ pkgs, source, ... }: { packages = [ pkgs.cowsay (source ${source}).hello ]; }\n`,
    'overlay.nix': 'final: prev: { hello = prev.cowsay // { pname = "from-overlay"; }; }\n',
    'berth.lock': formatLock({ sources: {} }),
  });
  const { environment } = await flow.service.environment({ path: project }, flow.context(source));
  const lock = readLock(join(project, 'berth.lock'));
  const own = Object.entries(lock.sources).find(([name]) => name.startsWith('own-'))?.[1];
  const again = await flow.service.environment({ path: project }, flow.context(source));
  expect(again.cache.environment).toBe('hit');
  return { paths: environment.closure.paths, own };
}

test('a folder', async () => {
  const { paths, own } = await closureWith(`{ url = "${tree('folder', '2.5')}"; }`);
  expect(paths.some((path) => path.endsWith('-hello-2.5'))).toBe(true);
  expect(own).toMatchObject({ kind: 'path', pin: { narHash: expect.stringMatching(/^sha256-/) as string } });
});

test('a tarball', async () => {
  const { paths, own } = await closureWith(`{ url = "${server.url}/tree.tar.gz"; }`);
  expect(paths.some((path) => path.endsWith('-hello-3.0'))).toBe(true);
  expect(own?.pin['url']).toBe(`${server.url}/tree.tar.gz`);
});

test('a revision of a git repository', async () => {
  const { paths, own } = await closureWith(`{ url = "git+${server.url}/tree.git"; rev = "${rev}"; }`);
  expect(paths.some((path) => path.endsWith('-hello-4.0'))).toBe(true);
  expect(own?.pin).toMatchObject({ rev });
});

test('a flake', async () => {
  const { paths } = await closureWith(`{ url = "${join(fixture.root, 'flake')}"; }`);
  expect(paths.some((path) => path.endsWith('-hello-5.0'))).toBe(true);
});

test('with overlays of the project', async () => {
  const { paths } = await closureWith(`{ url = "${tree('overlaid', '2.6')}"; overlays = [ ./overlay.nix ]; }`);
  expect(paths.some((path) => path.endsWith('-hello-2.6'))).toBe(false);
});

test('what is no source is refused', async () => {
  const empty = join(fixture.root, 'empty');
  mkdirSync(empty);
  await expect(closureWith(`{ url = "${empty}"; }`)).rejects.toMatchObject({ code: 'SOURCE_UNKNOWN' });
});
