/** Removes what a berth has left, whatever the permissions that it gave its folders. */
import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../core/files.ts';

/**
 * Like `rm -rf`, for a tree that nobody writes any more. Root removes at once. An ordinary user opens all folders first:
 * Node's own rm goes on in the background after it has failed, so there is no trying it before.
 */
export async function removeTree(path: string): Promise<void> {
  if (process.getuid?.() !== 0) await openFolders(path);
  await rm(path, { recursive: true, force: true });
}

async function openFolders(path: string): Promise<void> {
  try {
    await chmod(path, 0o700);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await openFolders(join(path, entry.name));
  }
}
