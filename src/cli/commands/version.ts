import type { Command } from 'commander';
import { build, version } from '../../core/version.ts';
import { newCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function versionCommand(context: CommandContext): Command {
  return newCommand('version', 'Print the version.', ['berth version', 'berth version --json']).action(
    (options: CommonOptions) => {
      const value = { version, build, node: process.version };
      context.stdout.write(options.json ? `${JSON.stringify(value)}\n` : `berth ${version}\n`);
    },
  );
}
