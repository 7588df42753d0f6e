import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { formatBytes } from '../../core/format.ts';

export function gcCommand(context: CommandContext): Command {
  return newCommand('gc', 'Drop what nothing needs: environments, sources, logs, and paths of the store.', [
    'berth gc --dry-run',
    'BERTH_GC_KEEP_DAYS=0 berth gc',
  ])
    .option('--dry-run', 'only tell what would go')
    .action((options: CommonOptions & { dryRun?: true }) =>
      runCommand(context, options, async (run) => {
        const report = await run.client.collectGarbage(options.dryRun ?? false, run.call);
        run.result(report, () => {
          const { environments, sources, traces, files, store } = report;
          const count = (number: number, one: string) => `${number} ${one}${number === 1 ? '' : 's'}`;
          const what = [
            count(environments.length, 'environment'),
            count(sources.length, 'source'),
            count(traces, 'trace'),
            `${count(files.count, 'file')} (${formatBytes(files.bytes)})`,
          ];
          return [
            `${report.dryRun ? 'Would drop' : 'Dropped'} ${what.join(', ')}.`,
            `${report.dryRun ? 'Would free' : 'Freed'} ${formatBytes(store.bytes)} of the store: ${count(store.paths, 'path')}.`,
            `Kept: what berths and seeds need, and what was used in the last ${count(report.keepDays, 'day')}.`,
          ].join('\n');
        });
      }),
    );
}
