/** Garbage-collection roots: links that keep a path, and all that it needs, from being collected. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { isStorePath, type Store, type StorePath } from './store.ts';

export interface GcRoots {
  /** Absolute path of the folder that holds the links. */
  readonly folder: string;
  /** Makes or moves a root. @param name letters, digits, `.`, `_`, `-`, `+` */
  add(name: string, path: StorePath): Promise<void>;
  /** Removing one that is gone is no error. */
  remove(name: string): Promise<void>;
  list(): Promise<{ readonly name: string; readonly path: StorePath }[]>;
}

/**
 * Berth's roots are links in a folder of their own, below the store's.
 * @param owner a name for whose roots they are, where several homes share the store: each has roots of its own
 */
export function createGcRoots(store: Store, owner = ''): GcRoots {
  const folder = join(store.root, 'nix/var/nix/gcroots/berth', owner);
  const linkOf = (name: string) => {
    if (!/^[A-Za-z0-9_+-][A-Za-z0-9._+-]*$/.test(name)) {
      throw new BerthError('INTERNAL', `\`${name}\` can't be the name of a garbage-collection root.`);
    }
    return join(folder, name);
  };
  return {
    folder,
    async add(name, path) {
      const link = linkOf(name);
      await mkdir(folder, { recursive: true });
      // A leading dot, which no name has: a link that is left by a crash is not taken for a root of ours.
      const temporary = join(folder, `.${randomBytes(6).toString('hex')}`);
      await symlink(path, temporary);
      try {
        await rename(temporary, link);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
    async remove(name) {
      await rm(linkOf(name), { force: true });
    },
    async list() {
      const roots: { name: string; path: StorePath }[] = [];
      for (const name of await readdir(folder).catch(ignoreMissing)) {
        if (name.startsWith('.')) continue;
        const path = await readlink(join(folder, name)).catch(() => '');
        if (isStorePath(path)) roots.push({ name, path });
      }
      return roots.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}

function ignoreMissing(error: unknown): string[] {
  if (isErrno(error, 'ENOENT')) return [];
  throw error;
}
