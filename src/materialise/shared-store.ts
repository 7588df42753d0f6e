/**
 * Mode `shell`: the container starts from the minimal image, the store is mounted read-only, and the berth's own folder
 * holds what the agent reads: variables, hook, the link to the FHS view and the command.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Mount } from '../engine/engine.ts';
import { physicalStoreDirectory, storeDirectory, type Store, type StorePath } from '../nix/store.ts';
import { nulSeparated, switchGeneration, writeGeneration, type BerthContent } from './generation.ts';

export { defaultFhs, type BerthContent } from './generation.ts';

/** Where the project lies in every berth. */
export const projectTarget = '/work';

/** The whole store, read-only: what all berths have that see it. */
export function wholeStoreMount(store: Store): Mount {
  return { source: physicalStoreDirectory(store), target: storeDirectory, readOnly: true };
}

/**
 * Mounts of mode `shell`: the store read-only, the project read-write.
 * @param closure the only paths of the store that the berth is to see; null: all
 */
export function sharedStoreMounts(
  store: Store,
  projectDirectory: string,
  closure: readonly StorePath[] | null = null,
): Mount[] {
  const whole = wholeStoreMount(store);
  return [
    closure === null ? whole : { ...whole, only: closure.map((path) => basename(path)).sort() },
    ...projectMounts(projectDirectory),
  ];
}

/** Mounts of mode `image`: the project read-write. The store paths are in the image. */
export function projectMounts(projectDirectory: string): Mount[] {
  return [{ source: projectDirectory, target: projectTarget, readOnly: false }];
}

/**
 * Writes a berth's folder and switches to it: a command that starts meanwhile has the old environment or the new one,
 * never a mixture.
 * @param generation the number under which the environment is kept there
 */
export function writeBerthContent(runDirectory: string, content: BerthContent, generation = 1): void {
  mkdirSync(runDirectory, { recursive: true, mode: 0o755 });
  writeGeneration(runDirectory, generation, content);
  writeCommand(runDirectory, content.command);
  switchGeneration(runDirectory, generation);
}

/** What the agent runs when the container starts. */
export function writeCommand(runDirectory: string, command: readonly string[] | null): void {
  const path = join(runDirectory, 'command');
  if (command === null) {
    rmSync(path, { recursive: true, force: true });
    return;
  }
  // The berth can write this folder too: a link that it put here must not be followed.
  rmSync(`${path}.new`, { recursive: true, force: true });
  writeFileSync(`${path}.new`, nulSeparated(command), { flag: 'wx' });
  renameSync(`${path}.new`, path);
}
