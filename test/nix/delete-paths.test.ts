/** Deleting what was found to be dead, when some of it has come to life meanwhile. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leftoversInStore } from '../../src/nix/collect-garbage.ts';
import { physicalPath } from '../../src/nix/store.ts';
import { makeNixFixture, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
beforeAll(async () => {
  fixture = await makeNixFixture();
});
afterAll(() => fixture.close());

async function add(name: string) {
  const file = join(fixture.root, name);
  writeFileSync(file, name);
  return fixture.nix.addToStore(file);
}

test('what has a root by then, or what refers to it, stays; the rest goes', async () => {
  const { nix } = fixture;
  const [rooted, dead] = [await add('rooted'), await add('dead')];
  const project = fixture.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.hello ]; }' });
  const evaluation = await nix.evaluate(fixture.request(project));
  if (!evaluation.ok) throw evaluation.error;
  // An input of a derivation that is not among what is to go.
  const { paths: closure } = await nix.closureOf([evaluation.result.drvPath]);
  const input = closure.find((path) => path !== evaluation.result.drvPath)!;
  await nix.roots.add('rooted', rooted);

  expect(await nix.deletePaths([rooted])).toMatchObject({ paths: [], spared: true });
  expect(await nix.deletePaths([input])).toMatchObject({ paths: [], spared: true });
  const batches: number[] = [];
  const { paths, spared, freedBytes } = await nix.deletePaths([dead], { onBatch: (done) => batches.push(done) });
  expect({ paths, spared, batches }).toEqual({ paths: [dead], spared: false, batches: [1] });
  expect(freedBytes).toBeGreaterThanOrEqual(0);
  expect((await nix.validPaths([rooted, input, dead])).sort()).toEqual([rooted, input].sort());
});

test('what a crash has left in the folder is told when it is old enough to be of no build', async () => {
  const { nix } = fixture;
  const stray = '/nix/store/00000000000000000000000000000000-stray';
  writeFileSync(physicalPath(nix.store, stray), '');
  const valid = new Set<string>((await nix.graph()).paths);
  expect(await nix.leftoversInStore(valid)).toEqual([]);
  const inTwoDays = Date.now() + 2 * 24 * 3600_000;
  expect(await leftoversInStore(nix, valid, inTwoDays)).toEqual([stray.slice('/nix/store/'.length)]);
});
