/**
 * The fewest revisions that have all of some package versions. A version is in the revisions of an interval, so this is the
 * piercing of intervals by points: taken in the order of their ends, each interval that no point is in yet gets one at its end.
 * That is minimal, since the intervals that got a point are disjoint (Gupta, Lee and Leung, 1979), in O(n log n).
 */

/** First and last revision that has a version, by their numbers in time. */
export type Interval = readonly [first: number, last: number];

/**
 * @param intervals one for each version that is wanted
 * @param known revisions that are used anyway
 * @returns for each interval a revision in it: few different ones, known ones before others
 */
export function fewestRevisions(intervals: readonly Interval[], known: readonly number[] = []): number[] {
  const inside = ([first, last]: Interval, point: number) => first <= point && point <= last;
  const points = [...known].sort((a, b) => b - a);
  const open = intervals.filter((interval) => !points.some((point) => inside(interval, point)));
  for (const interval of [...open].sort((a, b) => a[1] - b[1])) {
    // Points come in order, so only the last can be in this one.
    const newest = points.at(-1);
    if (newest !== undefined && points.length > known.length && inside(interval, newest)) continue;
    points.push(interval[1]);
  }
  return intervals.map((interval) => points.find((point) => inside(interval, point)) ?? interval[1]);
}
