/**
 * An archive of seeds (jq, ripgrep and Nix of bookworm), made once and kept in the shared test home: tests that need a store of
 * their own fill it from there, without a network.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatLock } from '../../src/config/lock.ts';
import { digestOfJson } from '../../src/core/digest.ts';
import { debianLock } from './debian-root.ts';
import { createFlow } from './flow.ts';
import { testHome } from './test-home.ts';

export const seededPackages = ['jq', 'nix-bin', 'ripgrep'] as const;

/** @returns the archive's path */
export async function seedArchive(): Promise<string> {
  const nix = join(import.meta.dirname, '../../nix');
  const code = readdirSync(nix, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => readFileSync(file, 'utf8'));
  const digest = digestOfJson([seededPackages, await debianLock('bookworm'), code]).slice(7, 23);
  const file = join(testHome, 'seeds', `${digest}.tar`);
  if (existsSync(file)) return file;
  mkdirSync(join(testHome, 'seeds'), { recursive: true });
  const flow = await createFlow();
  try {
    await lockSeeds(flow.home);
    await flow.storage.addSeeds({ names: seededPackages, configs: [] }, flow.context('seed'));
    await flow.storage.exportSeeds(file, {}, flow.context('export'));
    await flow.storage.removeSeeds(seededPackages);
  } finally {
    await flow.close();
  }
  return file;
}

/** Locks what a home seeds packages from to the shared test index, so that no mirror is asked. */
export async function lockSeeds(home: string): Promise<void> {
  mkdirSync(join(home, 'seeds'), { recursive: true });
  writeFileSync(join(home, 'seeds/berth.lock'), formatLock({ sources: { pkgs: await debianLock('bookworm') } }));
}
