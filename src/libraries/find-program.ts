/** Finds which store path brings a program of an environment: what a library tree depends on besides its lock. */
import { readlinkSync, lstatSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { physicalPath, storePathOf, type Store, type StorePath } from '../nix/store.ts';
import type { InstallEnvironment } from './sandbox.ts';

/** As many links as Linux follows. */
const maxLinks = 40;

/** @returns the store path that holds the program, or undefined when the environment has none of that name */
export function findProgram(store: Store, environment: InstallEnvironment, name: string): StorePath | undefined {
  for (const folder of (environment.variables['PATH'] ?? '').split(':')) {
    const found = resolve(store, environment, posix.join(folder, name));
    if (found !== undefined) return storePathOf(found);
  }
  return undefined;
}

/** Follows links as they would be followed in a berth: /usr leads into the view, /nix/store into the store. */
function resolve(store: Store, environment: InstallEnvironment, path: string): string | undefined {
  let current = path;
  for (let links = 0; links < maxLinks; links += 1) {
    const inStore = current.startsWith('/nix/store/') ? current : inView(environment.fhs, current);
    if (inStore === undefined) return undefined;
    const step = firstLink(store, inStore);
    if (step === undefined) return isThere(store, inStore) ? inStore : undefined;
    current = step;
  }
  return undefined;
}

/** The part of a path up to its first link is replaced by where that leads. */
function firstLink(store: Store, path: string): string | undefined {
  const parts = path.split('/');
  for (let count = 5; count <= parts.length; count += 1) {
    const part = parts.slice(0, count).join('/');
    const status = lstatSync(physicalPath(store, part), { throwIfNoEntry: false });
    if (!status) return undefined;
    if (!status.isSymbolicLink()) continue;
    const target = readlinkSync(physicalPath(store, part));
    const absolute = posix.isAbsolute(target) ? target : join(dirname(part), target);
    return join(absolute, ...parts.slice(count));
  }
  return undefined;
}

function isThere(store: Store, path: string): boolean {
  return lstatSync(physicalPath(store, path), { throwIfNoEntry: false }) !== undefined;
}

function inView(fhs: StorePath | null, path: string): string | undefined {
  if (fhs === null) return undefined;
  const [, first = ''] = path.split('/');
  if (first === 'usr') return `${fhs}${path}`;
  return ['bin', 'sbin', 'lib', 'lib64'].includes(first) ? `${fhs}/usr${path}` : undefined;
}
