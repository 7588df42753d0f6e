/** Search over an index's names and descriptions. */
import { nearestNames } from '../../core/nearest.ts';

export interface SearchEntry {
  readonly name: string;
  readonly version: string;
  readonly description: string;
}

/** @returns the entries of an index's search.tsv */
export function parseSearchFile(text: string): SearchEntry[] {
  const entries: SearchEntry[] = [];
  for (const line of text.split('\n')) {
    const [name, version, description] = line.split('\t');
    if (name !== undefined && version !== undefined) entries.push({ name, version, description: description ?? '' });
  }
  return entries;
}

/**
 * @param query words, all of which must occur in the name or the description
 * @returns the entries that fit, best first: the very name, names that begin with it, names that hold it as a word,
 *   names that hold it, descriptions; within each, short names first
 */
export function searchEntries(entries: Iterable<SearchEntry>, query: string, limit: number): SearchEntry[] {
  const words = query
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length === 0) return [];
  const found: { entry: SearchEntry; score: number }[] = [];
  for (const entry of entries) {
    const description = entry.description.toLowerCase();
    let score = 0;
    for (const word of words) {
      const one = scoreOf(entry.name, description, word);
      if (one === undefined) {
        score = -1;
        break;
      }
      score += one;
    }
    if (score >= 0) found.push({ entry, score });
  }
  found.sort(
    (a, b) =>
      a.score - b.score ||
      a.entry.name.length - b.entry.name.length ||
      (a.entry.name < b.entry.name ? -1 : a.entry.name > b.entry.name ? 1 : 0),
  );
  return found.slice(0, limit).map(({ entry }) => entry);
}

function scoreOf(name: string, description: string, word: string): number | undefined {
  if (name === word) return 0;
  if (name.startsWith(word)) return 1;
  if (name.split(/[-.+]/).includes(word)) return 2;
  if (name.includes(word)) return 3;
  return description.includes(word) ? 4 : undefined;
}

/** @returns the names nearest to one that does not exist, best first */
export function nearestPackageNames(name: string, names: Iterable<string>): string[] {
  return nearestNames(name, names, 5);
}
