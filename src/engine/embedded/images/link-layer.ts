/**
 * The short way to an unpacked layer of store paths: hard links to the store's own files. They take no room and no time
 * for content, and stay when the store's garbage goes. overlayfs copies a file before it lets anyone write it, so a link
 * is as safe as a copy.
 */
import { chmod, mkdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalTime } from '../../../oci/tar/tar-stream.ts';
import { exec } from '../../../core/exec.ts';
import type { Layer } from '../../../oci/layer/layer.ts';

/** As many paths as surely fit the arguments of one program. */
const pathsAtOnce = 500;

/**
 * @param directory an empty folder
 * @returns whether it could be done: not across file systems, nor for a user who may not link root's files, nor for a
 * file that has all the links that it may have. What was begun is then removed.
 */
export async function linkLayer(
  { physicalStore, paths }: NonNullable<Layer['fromStore']>,
  directory: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const store = join(directory, 'nix/store');
  await mkdir(store, { recursive: true });
  for (let start = 0; start < paths.length; start += pathsAtOnce) {
    const some = paths
      .slice(start, start + pathsAtOnce)
      .map((path) => join(physicalStore, path.slice('/nix/store/'.length)));
    const { code } = await exec('cp', ['-al', '--', ...some, store], signal ? { signal } : {});
    if (code === 0) continue;
    await rm(join(directory, 'nix'), { recursive: true, force: true });
    return false;
  }
  // As the tar has the folders above.
  for (const folder of [store, join(directory, 'nix')]) {
    await chmod(folder, 0o755);
    await utimes(folder, canonicalTime, canonicalTime);
  }
  return true;
}
