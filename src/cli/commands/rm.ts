import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function rmCommand(context: CommandContext): Command {
  return newCommand('rm', 'Remove berths; one that runs is ended. The project folder is not touched.', [
    'berth rm web',
    'berth rm $(berth ps --quiet)',
  ])
    .argument('<name...>', 'names or ids of berths')
    .action((names: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        for (const name of names) await run.client.remove(name, run.call);
        run.result({ removed: names }, () => names.join('\n'));
      }),
    );
}
