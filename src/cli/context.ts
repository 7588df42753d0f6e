/** What a command runs in: its streams, its client, how it prints, and when it is told to end. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { CallOptions, Client } from '../client/client.ts';
import type { Settings } from '../daemon/settings.ts';
import { createProgress, type Progress } from './progress.ts';
import { createStyle, wantsColours, type Style } from '../core/style.ts';

export interface CommonOptions {
  readonly json?: true;
  readonly verbose?: true;
  readonly quiet?: true;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface CommandContext {
  readonly env: Environment;
  readonly cwd: string;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /** What stood after `--` on the command line; undefined where there was none. */
  readonly afterDashes: readonly string[] | undefined;
  /** The process exits with it; a command that runs another sets the other's. */
  exitCode: number;
  /** The options that all commands have, as they were given; for rendering an error. */
  common: CommonOptions;
}

/** What a command's action gets. */
export interface Run {
  readonly context: CommandContext;
  readonly client: Client;
  readonly settings: Settings;
  readonly signal: AbortSignal;
  /** For calls of the client: shows their progress, and cancels them at Ctrl-C. */
  readonly call: CallOptions;
  readonly progress: Progress;
  readonly style: Style;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** Prints the result: one JSON object with `--json`, else the text. Called once at most. */
  result(value: object, text: () => string): void;
  /** Writes to stdout as it is. */
  print(text: string): void;
  /** @returns the absolute path that an argument means; the current folder without one */
  path(argument: string | undefined): string;
}

/** @returns a command with the options that all have, and its examples in its help */
export function newCommand(name: string, summary: string, examples: readonly string[]): Command {
  return new Command(name)
    .description(summary)
    .option('--json', 'print one JSON object on stdout')
    .option('-v, --verbose', 'show log lines, and stacks of errors')
    .option('-q, --quiet', 'show no progress')
    .showHelpAfterError(false)
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  ${example}`).join('\n')}`);
}

/** Runs a command's action with what it needs; heavy parts are loaded only here. */
export async function runCommand(
  context: CommandContext,
  options: CommonOptions,
  action: (run: Run) => Promise<void>,
): Promise<void> {
  context.common = { ...context.common, ...options };
  const { json = false, verbose = false, quiet = false } = context.common;
  const style = createStyle(wantsColours(context.stderr.isTTY, context.env));
  const [{ createClient }, { connect }, { readSettings }] = await Promise.all([
    import('../client/client.ts'),
    import('../client/connect.ts'),
    import('../daemon/settings.ts'),
  ]);
  const settings = readSettings({ env: context.env });
  const progress = createProgress({
    write: (text) => void context.stderr.write(text),
    terminal: context.stderr.isTTY && context.env['TERM'] !== 'dumb',
    columns: () => context.stderr.columns,
    style,
    verbose,
    quiet,
  });
  const warn = (text: string): void => {
    if (quiet) return;
    progress.clear();
    context.stderr.write(`${style.yellow('warning')}: ${text}\n`);
  };
  const client = createClient(
    connect({
      settings,
      env: context.env,
      onStarting: () => verbose && void context.stderr.write('Starting the daemon\n'),
      onOutdated: (differs) =>
        warn(`The daemon has other ${differs} than this command; it follows once it has no work.`),
    }),
  );
  try {
    await action({
      context,
      client,
      settings,
      signal: context.signal,
      call: { onEvent: progress.onEvent, signal: context.signal },
      progress,
      style,
      json,
      quiet,
      verbose,
      result(value, text) {
        progress.clear();
        const shown = json ? JSON.stringify(value) : text();
        if (shown !== '') context.stdout.write(`${shown}\n`);
      },
      print(text) {
        progress.clear();
        context.stdout.write(text);
      },
      path: (argument) => resolve(context.cwd, argument ?? '.'),
    });
  } finally {
    progress.clear();
  }
}

/** @returns a file's text for rendering an error, or undefined where it can't be read */
export function readFileIfPossible(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
