import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function lockCommand(context: CommandContext): Command {
  return newCommand('lock', "Lock a config's sources to a revision, in berth.lock beside it.", [
    'berth lock',
    'berth lock --update',
    'berth lock ~/project --update debian',
  ])
    .argument('[path]', 'a folder with a config, or the config itself')
    .option('--update [names...]', 'ask upstream again, for these sources and packages or for all')
    .action((path: string | undefined, options: CommonOptions & { update?: true | readonly string[] }) =>
      runCommand(context, options, async (run) => {
        const update = options.update === true ? [] : options.update;
        const result = await run.client.lock(run.path(path), update, run.call);
        run.result(result, () =>
          [
            result.lockFile,
            ...result.sources.map(
              (source) => `  ${source.name}: ${source.label}${source.changed ? '  (changed)' : ''}`,
            ),
          ].join('\n'),
        );
      }),
    );
}
