/** `berth add` and `berth remove`: edits the list of packages in a config's file. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { writeFileAtomically } from '../core/files.ts';
import type { ConfigFile } from './config-file.ts';
import { addPackages, listedPackages, removePackages } from './edit.ts';

/**
 * @returns the names that the list has now and had not, or the other way round; none where nothing had to be done
 * @throws BerthError CONFIG_NOT_EDITABLE; the file is left as it is
 */
export async function editPackages(
  config: ConfigFile,
  edit: 'add' | 'remove',
  names: readonly string[],
): Promise<string[]> {
  // A link stays a link.
  const file = await realpath(config.file);
  const text = await readFile(file, 'utf8');
  const edited = (edit === 'add' ? addPackages : removePackages)(text, names, config.file);
  if (edited === text) return [];
  const before = new Set(listedPackages(text, config.file));
  const after = new Set(listedPackages(edited, config.file));
  await writeFileAtomically(file, edited, (await stat(file)).mode & 0o777);
  return edit === 'add'
    ? [...after].filter((name) => !before.has(name))
    : [...before].filter((name) => !after.has(name));
}
