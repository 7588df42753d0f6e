/** Names of berths: what is allowed, and the one a project gets by itself. */
import { basename } from 'node:path';
import { digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';

const pattern = /^[a-z0-9][a-z0-9_.-]{0,62}$/;

/**
 * @returns the name, when it is one
 * @throws BerthError NAME_INVALID
 */
export function checkName(name: string): string {
  if (!pattern.test(name)) throw new BerthError('NAME_INVALID', `\`${name}\` is not a name for a berth.`);
  return name;
}

/**
 * The name that a project's berth gets when none is asked for: the folder's, and where another project has that, the
 * folder's with four digits of the path's hash.
 * @param takenBy the folder of the berth that has a name, if any
 */
export function nameFor(directory: string, takenBy: (name: string) => string | undefined): string {
  const plain =
    basename(directory)
      .toLowerCase()
      .replace(/[^a-z0-9_.-]+/g, '-')
      .replace(/^[^a-z0-9]+/, '')
      .slice(0, 50) || 'berth';
  const owner = takenBy(plain);
  if (owner === undefined || owner === directory) return plain;
  return `${plain}-${digestOf(directory).slice('sha256:'.length, 'sha256:'.length + 4)}`;
}
