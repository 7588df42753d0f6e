import { InvalidArgumentError, type Command } from 'commander';
import { renderRollback } from '../../daemon/render.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { berthNameOf } from '../berth-of-folder.ts';

export function rollbackCommand(context: CommandContext): Command {
  return newCommand('rollback', 'Give a berth an earlier environment again; the config stays as it is.', [
    'berth rollback',
    'berth rollback web --to 3',
  ])
    .argument('[name]', "name or id of the berth; default: the current folder's")
    .option('--to <generation>', 'its number in `berth history`; default: the one before', generation)
    .action((name: string | undefined, options: CommonOptions & { to?: number }) =>
      runCommand(context, options, async (run) => {
        const result = await run.client.rollback(name ?? (await berthNameOf(run)), options.to, run.call);
        run.result(result, () => renderRollback(result));
      }),
    );
}

function generation(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It takes the number of a generation.');
}
