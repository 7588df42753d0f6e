import type { Command } from 'commander';
import type { Explanation } from '../../environment/explain.ts';
import { newCommand, runCommand, type CommandContext } from '../context.ts';
import { formatTable } from '../../core/format.ts';
import { addEnvironmentOptions, environmentRequest, type EnvironmentOptions } from '../up-options.ts';

export function explainCommand(context: CommandContext): Command {
  const command = newCommand('explain', 'Tell why each stage hits or misses, and what changed. Evaluates nothing.', [
    'berth explain',
    'berth explain --json | jq \'.stages[] | select(.verdict == "miss").changed\'',
  ]).argument('[path]', 'a folder with a config, or the config itself');
  return addEnvironmentOptions(command).action((path: string | undefined, options: EnvironmentOptions) =>
    runCommand(context, options, async (run) => {
      const request = environmentRequest(run.path(path), options, run.settings, context.env);
      const explanation = await run.client.explain(request, run.call);
      run.result(explanation, () => renderExplanation(explanation));
    }),
  );
}

/** @returns the table of `berth explain` */
export function renderExplanation(explanation: Explanation): string {
  const rows = explanation.stages.map((stage) => [stage.stage, stage.verdict, stage.reason]);
  return `${explanation.configFile}\n\n${formatTable(['STAGE', 'VERDICT', 'WHY'], rows)}`;
}
