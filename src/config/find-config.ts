/** Finds the config that a command means. */
import { statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { ConfigFile } from './config-file.ts';

/** The names looked for in a folder, in this order. */
export const configNames = ['config.nix', 'shell.nix', 'replit.nix', 'flake.nix'] as const;

/**
 * @param path a config file of any name, or a folder that holds one of the usual names; absolute or relative to the
 *   working folder
 * @throws BerthError CONFIG_NOT_FOUND
 */
export function findConfig(path: string): ConfigFile {
  const absolute = resolve(path);
  const type = typeOf(absolute);
  if (type === 'file') return configAt(absolute);
  if (type === undefined) throw new BerthError('CONFIG_NOT_FOUND', `There is no ${absolute}.`);
  for (const name of configNames) {
    const file = join(absolute, name);
    if (typeOf(file) === 'file') return configAt(file);
  }
  throw new BerthError('CONFIG_NOT_FOUND', `${absolute} has no ${configNames.slice(0, -1).join(', ')} or flake.nix.`);
}

function configAt(file: string): ConfigFile {
  const directory = dirname(file);
  return {
    file,
    directory,
    lockFile: join(directory, 'berth.lock'),
    shape: basename(file) === 'flake.nix' ? 'flake' : 'nix',
  };
}

function typeOf(path: string): 'file' | 'directory' | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status?.isFile()) return 'file';
  return status?.isDirectory() ? 'directory' : undefined;
}
