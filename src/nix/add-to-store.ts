/** Copies a file or folder into the store under a name. */
import { basename } from 'node:path';
import { BerthError } from '../core/errors.ts';
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

const base32 = '0123456789abcdfghijklmnpqrsvwxyz';

/** Nix's base 32: least significant digit last, bits in little-endian order (nix/src/libutil/hash.cc). */
export function fromNixBase32(text: string): Buffer {
  const bytes = Buffer.alloc(Math.floor((text.length * 5) / 8));
  for (let position = 0; position < text.length; position += 1) {
    const digit = base32.indexOf(text[text.length - 1 - position] ?? '');
    const bit = position * 5;
    const index = bit >> 3;
    const shift = bit & 7;
    bytes[index] = (bytes[index] ?? 0) | ((digit << shift) & 0xff);
    if (index + 1 < bytes.length) bytes[index + 1] = (bytes[index + 1] ?? 0) | (digit >> (8 - shift));
  }
  return bytes;
}
