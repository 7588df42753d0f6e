/** Every example means something: each is evaluated over the real Debian archive. Running them is the engines' tests. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findConfig } from '../../src/config/find-config.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import type { PreparedSource } from '../../src/sources/source.ts';
import { debianPrepared, debianStore } from '../support/debian-root.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { testHome } from '../support/test-home.ts';

const folder = join(repository, 'examples');
let nix: Nix;
let source: PreparedSource;

beforeAll(async () => {
  source = await debianPrepared('bookworm');
  nix = createNix({
    store: debianStore,
    nixFolder: join(repository, 'nix'),
    home: join(testHome, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
});
afterAll(() => nix.close());

// A folder that only groups others, like that of the demo, is looked into.
// `at` is locked by the service: that example is evaluated where it is run.
const examples = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /^(?:config|shell|replit|flake)\.nix$/.test(entry.name))
  .map((entry) => entry.parentPath.slice(folder.length + 1))
  .filter((name) => name !== 'versions')
  .sort();

describe('the example', () => {
  it.each(examples)('%s evaluates', async (name) => {
    const config = findConfig(join(folder, name));
    const evaluation = await nix.evaluate({ config, sources: { pkgs: source }, defaultSource: 'pkgs' });
    expect(evaluation.ok ? '' : evaluation.error.message).toBe('');
    if (!evaluation.ok) return;
    expect(evaluation.unstable).toBe(false);
    expect(evaluation.result.packages.length).toBeGreaterThan(0);
    expect(evaluation.result.packages.every((one) => one.source === 'debian' && one.version !== '')).toBe(true);
  });

  it('is there for each shape of a config', () => {
    const names = examples.map((name) => findConfig(join(folder, name)).file.replace(/^.*\//, ''));
    expect(new Set(names)).toEqual(new Set(['config.nix', 'shell.nix', 'replit.nix', 'flake.nix']));
  });
});
