import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { captureSession, runSession } from '../session.ts';
import { requiredCommand } from '../up-options.ts';

interface ExecOptions extends CommonOptions {
  readonly workdir?: string;
  readonly env: Readonly<Record<string, string>>;
}

export function execCommand(context: CommandContext): Command {
  return newCommand('exec', 'Run a command in a berth that runs, with its environment.', [
    'berth exec web -- npm test',
    'berth exec web -- bash',
    'berth exec -w /work/src -e DEBUG=1 web -- make',
  ])
    .usage('[options] name -- command...')
    .argument('<name>', 'name or id of the berth')
    .argument('[command...]', 'the command; one with options of its own goes after `--`')
    .option('-w, --workdir <folder>', 'where to run it; default /work')
    .option('-e, --env <NAME=value>', 'set a variable; may be repeated', collectVariable, {})
    .passThroughOptions()
    .action((name: string, words: readonly string[], options: ExecOptions) =>
      runCommand(context, options, async (run) => {
        const argv = requiredCommand([...words, ...(context.afterDashes ?? [])], `berth exec ${name} -- bash`);
        const { agentSocket } = await run.client.get(name, run.call);
        const request = {
          agentSocket,
          argv,
          variables: options.env,
          ...(options.workdir === undefined ? {} : { cwd: options.workdir }),
        };
        if (run.json) {
          const captured = await captureSession(context, request);
          run.result(captured, () => '');
          context.exitCode = captured.exitCode;
        } else {
          context.exitCode = await runSession(context, request);
        }
      }),
    );
}

function collectVariable(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=');
  return at < 0 ? { ...before, [text]: '' } : { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
