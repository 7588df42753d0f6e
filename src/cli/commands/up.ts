import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext } from '../context.ts';
import { renderUp } from '../../daemon/render.ts';
import { watchConfig } from '../watch.ts';
import { addUpOptions, upRequest, type UpOptions } from '../up-options.ts';

export function upCommand(context: CommandContext): Command {
  const command = newCommand('up', 'Make the environment of a config ready, and a berth with it.', [
    'berth up',
    'berth up ~/project --name web -p 8080:80 --memory 2G',
    'berth up --json | jq .timingsMs',
    'berth up --watch',
  ]).argument('[path]', 'a folder with a config, or the config itself');
  return addUpOptions(command)
    .option('--name <name>', "the berth's name; default: the folder's")
    .option('--watch', 'stay, and follow each save of the config and of what it reads')
    .action((path: string | undefined, options: UpOptions & { watch?: true }) =>
      runCommand(context, options, async (run) => {
        const request = upRequest(run.path(path), options, run.settings, context.env);
        if (options.watch) return watchConfig(run, request);
        const result = await run.client.up(request, run.call);
        run.result(result, () => renderUp(result));
      }),
    );
}
