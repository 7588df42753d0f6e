/** Mounts that show only some entries of a folder, for engines that know whole folders only. */
import { lstatSync, mkdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from './engine.ts';

/**
 * @param places a folder of the berth's own, made anew: it holds what the entries are mounted on, and links as they are,
 *   which can't be mounted
 * @returns mounts of whole folders and files that show the same, each after what it lies in
 */
export function wholeMounts(mounts: readonly Mount[], places: string): Mount[] {
  rmSync(places, { recursive: true, force: true });
  return mounts.flatMap((mount, index) => (mount.only ? spread(mount, mount.only, join(places, `${index}`)) : mount));
}

function spread({ source, target, readOnly }: Mount, only: readonly string[], place: string): Mount[] {
  mkdirSync(place, { recursive: true });
  const entries = only.flatMap((name): Mount[] => {
    const path = join(source, name);
    const status = lstatSync(path);
    if (status.isSymbolicLink()) {
      symlinkSync(readlinkSync(path), join(place, name));
      return [];
    }
    if (status.isDirectory()) mkdirSync(join(place, name));
    else writeFileSync(join(place, name), '');
    return [{ source: path, target: join(target, name), readOnly }];
  });
  return [{ source: place, target, readOnly }, ...entries];
}
