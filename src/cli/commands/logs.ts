import type { Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function logsCommand(context: CommandContext): Command {
  return newCommand('logs', "Print the output of a berth's command.", ['berth logs web', 'berth logs -f web'])
    .argument('<name>', 'name or id of the berth')
    .option('-f, --follow', 'go on until the berth ends or Ctrl-C')
    .action((name: string, options: CommonOptions & { follow?: true }) =>
      runCommand(context, options, async (run) => {
        const decoder = new TextDecoder();
        let text = '';
        try {
          for await (const chunk of run.client.logs(name, options.follow ?? false, run.call)) {
            if (run.json) text += decoder.decode(chunk, { stream: true });
            else context.stdout.write(chunk);
          }
        } catch (error) {
          // Ctrl-C is how following ends.
          if (!(options.follow && run.signal.aborted)) throw error;
        }
        if (run.json) run.result({ name, log: text + decoder.decode() }, () => '');
      }),
    );
}
