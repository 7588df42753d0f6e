/** Copies a file or folder into the store under a name. */
import { basename } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { NixProcess } from './nix-process.ts';
import { isStorePath, type StorePath } from './store.ts';

/**
 * @param path a file or folder; symbolic links in it are kept as links
 * @param name the name after the hash; the path's own by default
 * @param options linkEqualFiles: its files that other such paths have too take no room again (hard links), where the store is
 *   ours to write
 * @returns the store path, the same for the same content and name
 * @throws BerthError DISK_FULL, CANCELLED, INTERNAL
 */
export async function addToStore(
  nix: NixProcess,
  path: string,
  name: string = basename(path),
  signal?: AbortSignal,
  { linkEqualFiles = false }: { readonly linkEqualFiles?: boolean } = {},
): Promise<StorePath> {
  const option = linkEqualFiles ? ['--option', 'auto-optimise-store', 'true'] : [];
  const result = await nix.run('nix', ['store', 'add-path', '--name', name, path, ...option], signal ? { signal } : {});
  const output = result.stdout.trim();
  if (result.code === 0 && isStorePath(output)) return output;
  if (/No space left on device/.test(result.stderr)) {
    throw new BerthError('DISK_FULL', 'The disk is full: the store could not be written.');
  }
  throw new BerthError('INTERNAL', `Adding ${path} to the store failed: ${result.stderr.trim()}`);
}
