/** Versions of nixpkgs by a version index, over trees in its shape: the fewest revisions that have them all. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatLock, readLock } from '../../src/config/lock.ts';
import { createFlow, type Flow } from '../support/flow.ts';
import { makeNixFixture, makeNixpkgs, removeStore, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let flow: Flow;
let index: string;

/** A revision of the tree in which hello has another version. */
async function revision(number: number, version: string) {
  const url = makeNixpkgs(join(fixture.root, `tree-${number}`));
  const file = join(url, 'pkgs/default.nix');
  writeFileSync(file, readFileSync(file, 'utf8').replace('"hello" "2.12"', `"hello" "${version}"`));
  const narHash = await fixture.nix.narHashOf(await fixture.nix.addToStore(url, 'source'));
  return { rev: String(number).repeat(40), narHash, date: `2025-0${number + 1}-01`, url };
}

beforeAll(async () => {
  fixture = await makeNixFixture();
  const revisions = [
    await revision(0, '1.0'),
    await revision(1, '1.1'),
    await revision(2, '2.0'),
    await revision(3, '2.0'),
  ];
  index = join(fixture.root, 'versions.json');
  const at = (first: number, last: number) => ({ revisions: [[first, last]] });
  writeFileSync(
    index,
    JSON.stringify({
      format: 1,
      revisions,
      packages: {
        hello: {
          '1.0': at(0, 0),
          '1.1': at(1, 1),
          '2.0': { ...at(2, 3), storePaths: { 'x86_64-linux': '/nix/store/x' } },
        },
        // Older than hello 1.1 and newer: a revision of both is the second.
        greeter: { '1.0': at(0, 1), '1.5': at(2, 2) },
      },
    }),
  );
  flow = await createFlow({
    storeRoot: join(fixture.root, 'store'),
    variables: {
      BERTH_SOURCE: 'nixpkgs',
      BERTH_NIXPKGS_URL: makeNixpkgs(join(fixture.root, 'default')),
      BERTH_VERSIONS_INDEX: index,
    },
  });
});
afterAll(async () => {
  await flow.close();
  await fixture.nix.close();
  removeStore(fixture.root);
});

const project = (config: string) => flow.project({ 'config.nix': config, 'berth.lock': formatLock({ sources: {} }) });
const locksOf = (folder: string) => readLock(join(folder, 'berth.lock'));

test('a version that the default revision lacks comes from one that has it', async () => {
  const folder = await project('{ pkgs, at, ... }: { packages = [ pkgs.greeter (at "hello" "1") ]; }\n');
  const { environment } = await flow.service.environment({ path: folder }, flow.context('one'));
  expect(environment.closure.paths.some((path) => path.endsWith('-hello-1.1'))).toBe(true);
  const { packages, sources } = locksOf(folder);
  expect(packages?.['hello@1']).toMatchObject({ version: '1.1', pin: { attribute: 'hello' } });
  const source = sources[packages?.['hello@1']?.pin['source'] as string];
  expect(source?.pin).toMatchObject({ rev: '1'.repeat(40), narHash: expect.stringMatching(/^sha256-/) as string });
});

test('what the default revision has is taken from it', async () => {
  const folder = await project('{ at, ... }: { packages = [ (at "hello" "^2.1") ]; }\n');
  await flow.service.environment({ path: folder }, flow.context('own'));
  expect(locksOf(folder).packages?.['hello@^2.1']).toMatchObject({ version: '2.12', pin: { source: 'pkgs' } });
});

test('several share a revision where one has them all, also one that is locked', async () => {
  const config = '{ at, ... }: { packages = [ (at "hello" "2.0") ]; }\n';
  const folder = await project(config);
  await flow.service.environment({ path: folder }, flow.context('first'));
  const revisionOf = (key: string) =>
    locksOf(folder).sources[locksOf(folder).packages?.[key]?.pin['source'] as string]?.pin['rev'];
  expect(revisionOf('hello@2.0')).toBe('3'.repeat(40));
  expect(locksOf(folder).packages?.['hello@2.0']?.pin['storePaths']).toEqual({ 'x86_64-linux': '/nix/store/x' });

  const both = await project('{ at, ... }: { packages = [ (at "hello" "2.0") (at "greeter" "1.5") ]; }\n');
  // The index says 1.5, which decides the revision; the tree itself has its own.
  await flow.service.lock(both, { update: [] }, flow.context('both'));
  const sources = new Set(Object.values(locksOf(both).packages ?? {}).map(({ pin }) => pin['source']));
  expect(sources.size).toBe(1);
});

test('an error names what the index has, nearest first', async () => {
  const folder = await project('{ at, ... }: { packages = [ (at "hello" "1.2") ]; }\n');
  await expect(flow.service.environment({ path: folder }, flow.context('none'))).rejects.toMatchObject({
    code: 'VERSION_UNKNOWN',
    message: expect.stringMatching(
      /there is 1\.1 \(nixpkgs 1111111 \(2025-02-01\)\), 1\.0 \(nixpkgs 0000000/,
    ) as string,
  });
});

test('an index that lies about a tree is refused', async () => {
  const text = readFileSync(index, 'utf8');
  writeFileSync(
    index,
    text.replace(
      /"narHash":"sha256-.{43}=","date":"2025-01-01"/,
      `"narHash":"sha256-${'A'.repeat(43)}=","date":"2025-01-01"`,
    ),
  );
  const folder = await project('{ at, ... }: { packages = [ (at "hello" "1.0") ]; }\n');
  await expect(flow.service.environment({ path: folder }, flow.context('lies'))).rejects.toMatchObject({
    code: 'HASH_MISMATCH',
  });
  writeFileSync(index, text);
});
