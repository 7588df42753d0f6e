import type { Command } from 'commander';
import { renderHistory } from '../../daemon/render.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { berthNameOf } from '../berth-of-folder.ts';

export function historyCommand(context: CommandContext): Command {
  return newCommand('history', 'List the environments that a berth had, with what was different.', [
    'berth history',
    'berth history web',
    "berth history web --json | jq '.generations[0].difference'",
  ])
    .argument('[name]', "name or id of the berth; default: the current folder's")
    .action((name: string | undefined, options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const history = await run.client.history(name ?? (await berthNameOf(run)), run.call);
        run.result(history, () => renderHistory(history, Date.now()));
      }),
    );
}
