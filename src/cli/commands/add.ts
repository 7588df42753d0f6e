import type { Command } from 'commander';
import { renderSwitch } from '../../daemon/render.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function addCommand(context: CommandContext): Command {
  return newCommand('add', 'Write packages into a config, and give them to its running berths.', [
    'berth add ripgrep jq',
    'berth add --to ~/project nodejs',
  ])
    .argument('<package...>', 'names as `berth search` prints them')
    .option('--to <path>', 'a folder with a config, or the config itself; default: the current folder')
    .option('--no-switch', 'leave running berths as they are')
    .action((names: readonly string[], options: CommonOptions & { to?: string; switch: boolean }) =>
      runCommand(context, options, async (run) => {
        const request = { path: run.path(options.to), names, noSwitch: !options.switch };
        const result = await run.client.addPackages(request, run.call);
        const { file, names: added, switched } = result;
        run.result({ file, added, switched }, () =>
          [
            added.length === 0 ? `${file} has them already.` : `${file}: added ${added.join(', ')}`,
            ...switched.map(renderSwitch),
          ].join('\n'),
        );
      }),
    );
}
