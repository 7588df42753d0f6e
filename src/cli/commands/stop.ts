import { InvalidArgumentError, type Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function stopCommand(context: CommandContext): Command {
  return newCommand('stop', 'Stop berths: SIGTERM, and SIGKILL after the grace time.', [
    'berth stop web',
    'berth stop --time 2 web db',
  ])
    .argument('<name...>', 'names or ids of berths')
    .option('-t, --time <seconds>', 'grace time', seconds, 10)
    .action((names: readonly string[], options: CommonOptions & { time: number }) =>
      runCommand(context, options, async (run) => {
        for (const name of names) await run.client.stop(name, options.time * 1000, run.call);
        run.result({ stopped: names }, () => names.join('\n'));
      }),
    );
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It takes a number of seconds.');
}
