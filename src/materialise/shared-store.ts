/**
 * Mode `shell`: the container starts from the minimal image, the store is mounted read-only, and the berth's own folder
 * holds what the agent reads: variables, hook, the link to the FHS view and the command.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../engine/engine.ts';
import { physicalStoreDirectory, storeDirectory, type Store, type StorePath } from '../nix/store.ts';

/** What a berth needs of an environment. */
export interface BerthContent {
  readonly variables: Readonly<Record<string, string>>;
  readonly shellHook: string;
  /** Bash functions that the environment's set-up defined. */
  readonly functions: string;
  readonly fhs: StorePath | null;
  readonly command: readonly string[] | null;
}

/** Where the project lies in every berth. */
export const projectTarget = '/work';

/** The FHS folder of the minimal image, for environments that bring none: busybox as /bin/sh and /usr/bin/env. */
export const defaultFhs = '/berth/fhs';

/** Mounts of mode `shell`: the store read-only, the project read-write. */
export function sharedStoreMounts(store: Store, projectDirectory: string): Mount[] {
  return [
    { source: physicalStoreDirectory(store), target: storeDirectory, readOnly: true },
    { source: projectDirectory, target: projectTarget, readOnly: false },
  ];
}

/**
 * Writes a berth's folder. Each file is replaced by a rename, so a command that starts meanwhile sees the old or the new
 * environment, never a mixture within one file; the link is switched last.
 */
export function writeBerthContent(runDirectory: string, content: BerthContent): void {
  mkdirSync(runDirectory, { recursive: true, mode: 0o755 });
  const replace = (name: string, text: string | null) => {
    const path = join(runDirectory, name);
    if (text === null) {
      rmSync(path, { recursive: true, force: true });
      return;
    }
    // The berth can write this folder too: a link that it put here must not be followed.
    rmSync(`${path}.new`, { recursive: true, force: true });
    writeFileSync(`${path}.new`, text, { flag: 'wx' });
    renameSync(`${path}.new`, path);
  };
  replace('environment', nulSeparated(Object.entries(content.variables).map(([key, value]) => `${key}=${value}`)));
  replace('hook', content.shellHook.trim() === '' ? null : `${content.shellHook}\n`);
  // Read by interactive shells and by the hook only: a command that is run needs no functions and should not wait.
  replace('functions', content.functions.trim() === '' ? null : `${content.functions}\n`);
  replace('command', content.command === null ? null : nulSeparated(content.command));
  const link = join(runDirectory, 'fhs');
  rmSync(`${link}.new`, { recursive: true, force: true });
  symlinkSync(content.fhs ?? defaultFhs, `${link}.new`);
  renameSync(`${link}.new`, link);
}

function nulSeparated(items: readonly string[]): string {
  return items.map((item) => `${item}\0`).join('');
}
