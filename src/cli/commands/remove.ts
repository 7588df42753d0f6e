import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function removeCommand(context: CommandContext): Command {
  return newCommand('remove', 'Take packages out of a config.', [
    'berth remove ripgrep',
    'berth remove --from ~/project nodejs',
  ])
    .argument('<package...>', 'names as the config has them')
    .option('--from <path>', 'a folder with a config, or the config itself; default: the current folder')
    .action((names: readonly string[], options: CommonOptions & { from?: string }) =>
      runCommand(context, options, async (run) => {
        const result = await run.client.removePackages(run.path(options.from), names, run.call);
        run.result({ file: result.file, removed: result.names }, () =>
          result.names.length === 0
            ? `${result.file} has none of them.`
            : `${result.file}: removed ${result.names.join(', ')}`,
        );
      }),
    );
}
