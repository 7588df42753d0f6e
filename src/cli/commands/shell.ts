import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext } from '../context.ts';
import { addUpOptions, upRequest, type UpOptions } from '../up-options.ts';
import { runInNewBerth } from '../run-in-new-berth.ts';

export function shellCommand(context: CommandContext): Command {
  const command = newCommand('shell', 'Open a shell in the environment of a config, in a berth of its own.', [
    'berth shell',
    'berth shell ~/project --nix',
    'echo "python3 --version" | berth shell .',
  ]).argument('[path]', 'a folder with a config, or the config itself');
  return addUpOptions(command).action((path: string | undefined, options: UpOptions) =>
    runCommand(context, options, async (run) => {
      const request = upRequest(run.path(path), options, run.settings, context.env);
      await runInNewBerth(run, request, context.afterDashes ?? []);
    }),
  );
}
