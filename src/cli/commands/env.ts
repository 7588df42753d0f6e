import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext } from '../context.ts';
import { exportLines } from '../../core/format.ts';
import { addEnvironmentOptions, environmentRequest, type EnvironmentOptions } from '../up-options.ts';

export function envCommand(context: CommandContext): Command {
  const command = newCommand('env', 'Print the variables of the environment of a config, without a berth.', [
    'berth env --sh > environment.sh',
    'berth env --json | jq -r .environment.variables.PATH',
  ])
    .argument('[path]', 'a folder with a config, or the config itself')
    .option('--sh', 'as `export` lines for a shell; the default');
  return addEnvironmentOptions(command).action((path: string | undefined, options: EnvironmentOptions) =>
    runCommand(context, options, async (run) => {
      const request = environmentRequest(run.path(path), options, run.settings, context.env);
      const result = await run.client.environment(request, run.call);
      run.result(result, () => exportLines(result.environment.variables));
    }),
  );
}
