/** The comparison as a table for people: the median over the configs of each mode, situation and number at once. */
import { formatBytes, formatDuration } from '../../core/format.ts';
import { modes, situations, type Measurement, type ModesResult } from './result.ts';

export function modesMarkdown(result: ModesResult): string {
  const rows = [...new Set(result.measurements.map((it) => it.atOnce))].flatMap((atOnce) =>
    situations.flatMap((situation) =>
      modes.flatMap((mode) => {
        const of = result.measurements.filter(
          (it) => it.mode === mode && it.situation === situation && it.atOnce === atOnce,
        );
        return of.length === 0 ? [] : [[mode, situation, String(atOnce), ...cells(of)]];
      }),
    ),
  );
  const header = ['mode', 'situation', 'at once', 'all ready', 'downloaded', 'layers moved', 'disk taken'];
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  return [
    line(header),
    line(header.map(() => '---')),
    ...rows.map(line),
    '',
    `Medians over ${result.configs.length} configs; engine ${result.engine}; warm and reordered ${result.samples} times each. Reordering ${result.reorderingIsFree ? 'built nothing, made no image and moved no bytes' : 'was NOT free'}.`,
    ...(result.ownStore ? [] : ['The store held packages before: cold is not cold.']),
    ...result.skipped.map(({ mode, reason }) => `Mode ${mode} was left out: ${reason}`),
    ...(result.fetchedBytes > 0
      ? [`${formatBytes(result.fetchedBytes)} came from the network while measuring: the cache lacked them.`]
      : []),
  ].join('\n');
}

function cells(of: readonly Measurement[]): string[] {
  const disks = of.flatMap(({ disk }) => (disk ? [disk.storeBytes + disk.blobBytes + disk.otherBytes] : []));
  return [
    formatDuration(median(of.flatMap((it) => it.readyMs))),
    formatBytes(median(of.map((it) => it.moved.downloads))),
    formatBytes(median(of.map((it) => it.moved.layers))),
    disks.length === 0 ? '' : formatBytes(median(disks)),
  ];
}

/** @returns the middle one; of an even number the lower of the two */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? NaN;
}
