/** Reads the command line: loads the one command that it names, and turns whatever is wrong with it into USAGE. */
import { CommanderError, type Command } from 'commander';
import { BerthError } from '../core/errors.ts';
import { nearestNames } from '../core/nearest.ts';
import { version } from '../core/version.ts';
import { commands, type CommandEntry } from './commands.ts';
import { newCommand, type CommandContext } from './context.ts';

/**
 * Runs the command that the arguments name.
 * @param args without the program's own name, and without `--` and what follows it
 * @throws BerthError USAGE, or what the command throws
 */
export async function runProgram(args: readonly string[], context: CommandContext): Promise<void> {
  const name = args.find((argument) => !argument.startsWith('-'));
  const entry = commands.find((command) => command.name === (name === 'help' ? args[args.indexOf('help') + 1] : name));
  const program = await createProgram(context, entry ? [entry] : []);
  if (name !== undefined && name !== 'help' && !entry) {
    const [nearest] = nearestNames(
      name,
      commands.map((command) => command.name),
    );
    throw new BerthError('USAGE', `There is no command \`${name}\`.`, {
      hint: nearest ? `Did you mean \`berth ${nearest}\`?` : 'See `berth --help`.',
    });
  }
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0 || error.code === 'commander.help') return;
    throw new BerthError('USAGE', sentence(error.message), {
      hint: entry ? `See \`berth ${entry.name} --help\`.` : 'See `berth --help`.',
    });
  }
}

/**
 * @param loaded commands that are loaded whole; of the others there is only the line in the help
 */
export async function createProgram(context: CommandContext, loaded: readonly CommandEntry[]): Promise<Command> {
  const program = newCommand('berth', 'Turns a config.nix into a ready container, fast.', [
    'berth up .                      a container for ./config.nix, in the background',
    'berth run . -- python3 app.py   one command in it',
    'berth shell .                   a shell in it',
  ])
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'tell about a command')
    .enablePositionalOptions();
  for (const entry of commands) {
    if (loaded.includes(entry)) program.addCommand((await entry.load())(context));
    else program.command(entry.name).summary(entry.summary).description(entry.summary);
  }
  for (const command of withSubcommands(program)) {
    command.exitOverride().configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      // `berth` alone prints its help; what is wrong is thrown, and rendered like every other error.
      writeErr: (text) => {
        context.stderr.write(text);
      },
      outputError: () => undefined,
    });
  }
  program.hook('preAction', (_, action) => {
    context.common = { ...context.common, ...program.opts(), ...action.opts() };
  });
  return program;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** `error: unknown option '--x'` -> `Unknown option '--x'.` */
function sentence(message: string): string {
  const text = message.replace(/^error: /, '').replace(/\n.*$/s, '');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
