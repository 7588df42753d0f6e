/** Heat: how often something was used lately. Each use adds 1; what was added halves with time. */

/** A week: what was used daily last month is colder than what was used twice today, and hotter than one use long ago. */
export const heatHalfLifeMs = 7 * 24 * 3_600_000;

/** @returns what is left of a heat after some milliseconds */
export function cooled(heat: number, elapsedMs: number): number {
  return heat * 2 ** (-Math.max(0, elapsedMs) / heatHalfLifeMs);
}
