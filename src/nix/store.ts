/** The store in Berth's words: where it is, and what a store path is. Runs nothing. */
import { join } from 'node:path';

/** An absolute path of the form `/nix/store/<32 characters>-<name>`, as the store itself says it. */
export type StorePath = `/nix/store/${string}`;

/** Where store paths are said to be, in every store that Berth uses. */
export const storeDirectory = '/nix/store';

/** All store paths that some paths need, themselves included. */
export interface Closure {
  /** Sorted. */
  readonly paths: readonly StorePath[];
  /** Sum of the paths' NAR sizes, in bytes. */
  readonly bytes: number;
}

/**
 * A Nix store. The managed store is a chroot store: its `/nix/store` lies under a folder of Berth's
 * (`nix --store DIR`), and the host's `/nix` is never touched. The system store is the host's own `/nix`.
 */
export interface Store {
  readonly kind: 'managed' | 'system';
  /** The folder whose `nix/store` holds the paths: `/` for the system store. */
  readonly root: string;
}

/** @returns the folder on the host that holds the store's paths, to be mounted at `/nix/store` */
export function physicalStoreDirectory(store: Store): string {
  return join(store.root, 'nix/store');
}

/** @returns where a store path lies on the host */
export function physicalPath(store: Store, path: string): string {
  return join(store.root, path);
}

/** @returns whether the text is a store path itself, not a file within one */
export function isStorePath(text: string): text is StorePath {
  return /^\/nix\/store\/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+\-._?=]+$/.test(text);
}

/** @returns the store path that a file within the store belongs to, or undefined outside the store */
export function storePathOf(file: string): StorePath | undefined {
  const candidate = file.split('/').slice(0, 4).join('/');
  return isStorePath(candidate) ? candidate : undefined;
}
