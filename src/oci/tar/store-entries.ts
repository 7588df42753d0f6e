/**
 * Store paths as the members of an archive. What the store does not vouch for is made the same everywhere: the owner is
 * root, the time one second after the epoch, the mode one of Nix's (0444, or 0555 for directories and what its owner may
 * execute), and hard links, which differ between stores, are written as files of their own.
 */
import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import type { TarEntry } from './tar-stream.ts';

/** Files up to this size are read ahead, some at a time; larger ones are streamed. */
const smallFile = 64 * 1024;
const readAhead = 32;
const pieceSize = 1024 * 1024;

/**
 * @param physicalStore the folder on this host that holds the store paths (physicalStoreDirectory of a Store)
 * @param paths store paths (`/nix/store/…`); any order, each once
 * @returns `/nix`, `/nix/store`, then each path with all below it, sorted by their bytes
 * @throws BerthError LAYER_UNREADABLE when a path is not there or holds what a store can't
 */
export async function* storeEntries(
  physicalStore: string,
  paths: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<TarEntry> {
  yield { type: 'directory', path: Buffer.from('nix'), mode: 0o755 };
  yield { type: 'directory', path: Buffer.from('nix/store'), mode: 0o755 };
  for (const path of [...paths].sort()) {
    const name = path.slice('/nix/store/'.length);
    const onHost = Buffer.from(join(physicalStore, name));
    yield* walk(onHost, Buffer.from(`nix/store/${name}`), signal);
  }
}

async function* walk(onHost: Buffer, path: Buffer, signal?: AbortSignal): AsyncGenerator<TarEntry> {
  const entry = await entryOf(onHost, path);
  yield entry;
  if (entry.type === 'directory') yield* walkDirectory(onHost, path, signal);
}

async function* walkDirectory(onHost: Buffer, path: Buffer, signal?: AbortSignal): AsyncGenerator<TarEntry> {
  const names = await readdir(onHost, { encoding: 'buffer' });
  names.sort((a, b) => Buffer.compare(a, b));
  for (let start = 0; start < names.length; start += readAhead) {
    signal?.throwIfAborted();
    const some = names.slice(start, start + readAhead).map((name) => ({ onHost: below(onHost, name), name }));
    const entries = await Promise.all(some.map(async (child) => entryOf(child.onHost, below(path, child.name))));
    for (const [index, entry] of entries.entries()) {
      yield entry;
      const child = some[index];
      if (entry.type === 'directory' && child) yield* walkDirectory(child.onHost, entry.path, signal);
    }
  }
}

async function entryOf(onHost: Buffer, path: Buffer): Promise<TarEntry> {
  try {
    const found = await lstat(onHost);
    if (found.isDirectory()) return { type: 'directory', path, mode: 0o555 };
    if (found.isSymbolicLink()) {
      return { type: 'symlink', path, target: await readlink(onHost, { encoding: 'buffer' }) };
    }
    if (found.isFile()) {
      const mode = (found.mode & 0o100) === 0 ? 0o444 : 0o555;
      if (found.size <= smallFile) {
        const content = await readFile(onHost);
        return { type: 'file', path, mode, size: found.size, content };
      }
      return {
        type: 'file',
        path,
        mode,
        size: found.size,
        content: () => createReadStream(onHost, { highWaterMark: pieceSize }) as AsyncIterable<Buffer>,
      };
    }
  } catch (error) {
    throw new BerthError('LAYER_UNREADABLE', `${path.toString()} could not be read for a layer.`, { cause: error });
  }
  throw new BerthError(
    'LAYER_UNREADABLE',
    `${path.toString()} is neither a file, a directory nor a symbolic link, so it cannot be in a layer.`,
  );
}

function below(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, Buffer.from('/'), name]);
}
