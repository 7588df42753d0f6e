import type { Command } from 'commander';
import type { BerthSummary } from '../../environment/service.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function startCommand(context: CommandContext): Command {
  return newCommand('start', 'Start stopped berths.', ['berth start web', 'berth start web db'])
    .argument('<name...>', 'names or ids of berths')
    .action((names: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const berths: BerthSummary[] = [];
        for (const name of names) berths.push(await run.client.start(name, run.call));
        run.result({ berths }, () => berths.map((berth) => berth.name).join('\n'));
      }),
    );
}
