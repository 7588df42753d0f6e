import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { renderBerths } from '../../daemon/render.ts';

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
