import kleur from 'kleur';
import semver from 'semver';

/** @returns the newest of some versions, in colour */
export function newest(versions) {
  return kleur.green(semver.rsort([...versions])[0]);
}
