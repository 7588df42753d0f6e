import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext } from '../context.ts';
import { addUpOptions, requiredCommand, upRequest, type UpOptions } from '../up-options.ts';
import { runInNewBerth } from '../run-in-new-berth.ts';

export function runCommandCommand(context: CommandContext): Command {
  const command = newCommand('run', 'Run one command in the environment of a config, in a berth of its own.', [
    'berth run . -- python3 app.py',
    'echo "select 1" | berth run ~/db -- sqlite3',
    'berth run --json . -- node --version | jq -r .stdout',
  ])
    .usage('[options] [path] -- command...')
    .argument('[path]', 'a folder with a config, or the config itself');
  return addUpOptions(command).action((path: string | undefined, options: UpOptions) =>
    runCommand(context, options, async (run) => {
      const argv = requiredCommand(context.afterDashes, 'berth run . -- python3 --version');
      const request = upRequest(run.path(path), options, run.settings, context.env);
      await runInNewBerth(run, request, argv);
    }),
  );
}
