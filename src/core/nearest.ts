/** Finds the names that a user may have meant. */

/**
 * @param wanted what was written
 * @param names all valid names
 * @param limit how many to return at most
 * @returns the nearest names, best first: by edit distance (Levenshtein), at most a third of the word's length away,
 *   and names that begin with it
 */
export function nearestNames(wanted: string, names: Iterable<string>, limit = 3): string[] {
  const bound = Math.max(1, Math.floor(wanted.length / 3));
  const found: { name: string; score: number }[] = [];
  const lower = wanted.toLowerCase();
  for (const name of names) {
    const candidate = name.toLowerCase();
    if (candidate.startsWith(lower) && lower.length >= 3) {
      found.push({ name, score: Math.min(bound, 0.5 + (candidate.length - lower.length) * 0.1) });
    } else if (Math.abs(candidate.length - lower.length) <= bound) {
      const distance = editDistance(lower, candidate, bound);
      if (distance <= bound) found.push({ name, score: distance });
    }
  }
  found.sort((a, b) => a.score - b.score || (a.name < b.name ? -1 : 1));
  return found.slice(0, limit).map((entry) => entry.name);
}

/** Levenshtein distance by the two-row method; any number above `bound` means "more than bound". */
function editDistance(a: string, b: string, bound: number): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    let best = i;
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const value = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost);
      current.push(value);
      best = Math.min(best, value);
    }
    if (best > bound) return bound + 1;
    previous = current;
  }
  return previous[b.length] ?? 0;
}
