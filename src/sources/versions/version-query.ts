/**
 * What a wanted version means: an exact one (`18.20.4`), a prefix (`18`, `3.11`), or a range in npm's notation
 * (`^18.2`, `~3.11`, `>=18 <20`, `18.x`, `1.2 - 1.5`, `18 || 20`).
 */
import semver from 'semver';
import { BerthError } from '../../core/errors.ts';
import { compareVersions } from '../debian/version.ts';

export interface VersionQuery {
  readonly wanted: string;
  /** @param version the project's own, such as `18.20.4`; @param full the source's, where that says more */
  matches(version: string, full?: string): boolean;
}

/** @throws BerthError VERSION_INVALID */
export function versionQuery(wanted: string): VersionQuery {
  const text = wanted.trim();
  if (text === '' || text.length > 100 || !/^[\w.+~:^<>=*| -]+$/.test(text)) throw invalid(wanted);
  if (text === '*' || text === 'latest') return { wanted: text, matches: () => true };
  if (!isRange(text)) {
    if (!/^[0-9A-Za-z][0-9A-Za-z.+~:_-]*$/.test(text)) throw invalid(wanted);
    return { wanted: text, matches: (version, full) => version === text || full === text || hasPrefix(version, text) };
  }
  const range = semver.validRange(text);
  if (range === null) throw invalid(wanted);
  return { wanted: text, matches: (version) => inRange(version, range) };
}

/** `18` is a prefix of `18.20.4` and of `18-rc1`, not of `180`. */
function hasPrefix(version: string, prefix: string): boolean {
  if (!version.startsWith(prefix)) return false;
  return !/[0-9]/.test(prefix.at(-1) ?? '') || !/[0-9]/.test(version[prefix.length] ?? '');
}

function isRange(text: string): boolean {
  return /[\^<>=*|\s]|^~|(?:^|\.)[xX](?:\.|$)/.test(text);
}

/** Versions of two or four numbers count as those of three: npm's ranges know no others. */
function inRange(version: string, range: string): boolean {
  const [, major = '', minor = '0', patch = '0', rest = ''] = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)$/.exec(version) ?? [];
  if (major === '') return false;
  const prerelease = /^[~.-]?(?:alpha|beta|rc|pre|dev|a|b)[.\d]*/.exec(rest)?.[0].replace(/^[~.-]/, '');
  const numbers = [major, minor, patch].map((part) => String(Number(part))).join('.');
  return semver.satisfies(prerelease === undefined ? numbers : `${numbers}-${prerelease}`, range);
}

/** Newest first: Debian's order, which agrees with the projects' own wherever versions are numbers and dots. */
export function newestFirst(a: string, b: string): number {
  return compareVersions(b, a);
}

/**
 * @param wanted a version, a prefix or a range
 * @returns versions in the order in which they differ from it: by the first number that differs, then the next; of two that
 *   are as far away, the newer first
 */
export function nearestVersions<T>(wanted: string, items: readonly T[], versionOf: (item: T) => string): T[] {
  const target = numbersOf(wanted);
  const distance = (item: T) => {
    const numbers = numbersOf(versionOf(item));
    return target.map((number, index) => Math.abs((numbers[index] ?? 0) - number));
  };
  return items
    .map((item) => ({ item, away: distance(item) }))
    .sort((a, b) => compareLists(a.away, b.away) || newestFirst(versionOf(a.item), versionOf(b.item)))
    .map(({ item }) => item);
}

function numbersOf(version: string): number[] {
  return (/\d+(?:\.\d+)*/.exec(version)?.[0] ?? '').split('.').map(Number);
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function invalid(wanted: string): BerthError {
  return new BerthError('VERSION_INVALID', `\`${wanted}\` is neither a version nor a range of versions.`, {
    details: { wanted },
  });
}
