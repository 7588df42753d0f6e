import { Argument, type Command } from 'commander';
import { completionScript, type CompletionShell } from '../completion-script.ts';
import { newCommand, type CommandContext } from '../context.ts';

export function completionCommand(context: CommandContext): Command {
  return newCommand('completion', 'Print a completion script for a shell.', [
    'eval "$(berth completion bash)"',
    'berth completion fish | source',
  ])
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: CompletionShell) => {
      const [{ createProgram }, { commands }] = await Promise.all([import('../program.ts'), import('../commands.ts')]);
      const program = await createProgram(context, commands);
      context.stdout.write(`${completionScript(shell, program)}\n`);
    });
}
