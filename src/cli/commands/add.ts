import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function addCommand(context: CommandContext): Command {
  return newCommand('add', 'Write packages into a config.', ['berth add ripgrep jq', 'berth add --to ~/project nodejs'])
    .argument('<package...>', 'names as `berth search` prints them')
    .option('--to <path>', 'a folder with a config, or the config itself; default: the current folder')
    .action((names: readonly string[], options: CommonOptions & { to?: string }) =>
      runCommand(context, options, async (run) => {
        const result = await run.client.addPackages(run.path(options.to), names, run.call);
        run.result({ file: result.file, added: result.names }, () =>
          result.names.length === 0
            ? `${result.file} has them already.`
            : `${result.file}: added ${result.names.join(', ')}`,
        );
      }),
    );
}
