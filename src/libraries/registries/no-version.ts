/** What a registry does not have, in the words of docs/versions.md. */
import { BerthError } from '../../core/errors.ts';
import { nearestVersions } from '../../sources/versions/version-query.ts';

/** @returns the error that names the versions there are, nearest first */
export function noVersion(registry: string, name: string, wanted: string, versions: readonly string[]): BerthError {
  if (versions.length === 0) {
    return new BerthError('UNKNOWN_PACKAGE', `There is no package \`${name}\` in ${registry}.`, { details: { name } });
  }
  const nearest = nearestVersions(wanted, versions, (version) => version).slice(0, 6);
  return new BerthError(
    'VERSION_UNKNOWN',
    `There is no ${name} ${wanted}; there is ${nearest.map((version) => `${version} (${registry})`).join(', ')}.`,
    { details: { name, wanted, versions: nearest.map((version) => ({ version, source: registry })) } },
  );
}
