import type { Command } from 'commander';
import type { BerthSummary } from '../../environment/service.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { formatAge, formatTable } from '../format.ts';

export function psCommand(context: CommandContext): Command {
  return newCommand('ps', 'List berths, running or not. With --quiet, only their names.', [
    'berth ps',
    'berth ps --json | jq -r \'.berths[] | select(.state == "stopped") | .name\'',
    'berth rm $(berth ps --quiet)',
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const berths = await run.client.list(run.call);
      run.result({ berths }, () =>
        run.quiet ? berths.map((berth) => berth.name).join('\n') : renderBerths(berths, Date.now()),
      );
    }),
  );
}

/** @returns the table of `berth ps` */
export function renderBerths(berths: readonly BerthSummary[], now: number): string {
  const rows = berths.map((berth) => [
    berth.name,
    berth.state === 'stopped' && berth.exitCode !== null ? `stopped (${berth.exitCode})` : berth.state,
    berth.engine,
    berth.environmentDigest.slice('sha256:'.length, 'sha256:'.length + 12),
    berth.ports.map((port) => `${port.host}->${port.container}`).join(',') || '-',
    `${formatAge(now - Date.parse(berth.createdAt))} ago`,
    berth.directory,
  ]);
  return formatTable(['NAME', 'STATE', 'ENGINE', 'ENVIRONMENT', 'PORTS', 'CREATED', 'DIRECTORY'], rows);
}
