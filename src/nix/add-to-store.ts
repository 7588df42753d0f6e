/** Copies a file or folder into the store under a name. */
import { basename } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { fromNixBase32 } from './base32.ts';
import type { NixProcess } from './nix-process.ts';
import { isStorePath, type StorePath } from './store.ts';

/**
 * @param path a file or folder; symbolic links in it are kept as links
 * @param name the name after the hash; the path's own by default
 * @returns the store path, the same for the same content and name
 * @throws BerthError DISK_FULL, CANCELLED, INTERNAL
 */
export async function addToStore(
  nix: NixProcess,
  path: string,
  name: string = basename(path),
  signal?: AbortSignal,
): Promise<StorePath> {
  const result = await nix.run('nix', ['store', 'add-path', '--name', name, path], signal ? { signal } : {});
  const output = result.stdout.trim();
  if (result.code === 0 && isStorePath(output)) return output;
  if (/No space left on device/.test(result.stderr)) {
    throw new BerthError('DISK_FULL', 'The disk is full: the store could not be written.');
  }
  throw new BerthError('INTERNAL', `Adding ${path} to the store failed: ${result.stderr.trim()}`);
}

/** @returns the hash of a valid path's NAR, as `sha256-…` */
export async function narHashOf(nix: NixProcess, path: string): Promise<string> {
  const output = (await nix.require('nix-store', ['--query', '--hash', path])).trim();
  // Nix prints `sha256:` and its own base 32.
  const digits = /^sha256:([0-9a-z]{52})$/.exec(output)?.[1];
  if (digits === undefined) throw new BerthError('INTERNAL', `Nix printed \`${output}\` where a hash was expected.`);
  return `sha256-${fromNixBase32(digits).toString('base64')}`;
}
