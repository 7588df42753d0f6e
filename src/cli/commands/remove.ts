import type { Command } from 'commander';
import { renderSwitch } from '../../daemon/render.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function removeCommand(context: CommandContext): Command {
  return newCommand('remove', 'Take packages out of a config, and from its running berths.', [
    'berth remove ripgrep',
    'berth remove --from ~/project nodejs',
  ])
    .argument('<package...>', 'names as the config has them')
    .option('--from <path>', 'a folder with a config, or the config itself; default: the current folder')
    .option('--no-switch', 'leave running berths as they are')
    .action((names: readonly string[], options: CommonOptions & { from?: string; switch: boolean }) =>
      runCommand(context, options, async (run) => {
        const request = { path: run.path(options.from), names, noSwitch: !options.switch };
        const result = await run.client.removePackages(request, run.call);
        const { file, names: removed, switched } = result;
        run.result({ file, removed, switched }, () =>
          [
            removed.length === 0 ? `${file} has none of them.` : `${file}: removed ${removed.join(', ')}`,
            ...switched.map(renderSwitch),
          ].join('\n'),
        );
      }),
    );
}
