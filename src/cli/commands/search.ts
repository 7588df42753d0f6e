import { InvalidArgumentError, type Command } from 'commander';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { formatTable } from '../../core/format.ts';

export function searchCommand(context: CommandContext): Command {
  return newCommand('search', "Find packages in a config's sources, best first.", [
    'berth search ripgrep',
    'berth search python3@3.11 --in ~/project',
    "berth search --json sqlite | jq -r '.packages[].name'",
  ])
    .argument('<query>', 'a name, NAME@VERSION, or words of the description')
    .option('--in <path>', 'the config whose sources are searched; default: the current folder, where it has one')
    .option('-n, --limit <number>', 'how many to print', limit, 20)
    .action((query: string, options: CommonOptions & { in?: string; limit: number }) =>
      runCommand(context, options, async (run) => {
        const path = options.in === undefined ? await configHere(run.path(undefined)) : run.path(options.in);
        const packages = await run.client.search(path, query, options.limit, run.call);
        const rows = packages.map((found) => [found.name, found.version, found.source, found.description]);
        run.result({ packages }, () =>
          packages.length === 0
            ? `No package fits \`${query}\`.`
            : formatTable(['NAME', 'VERSION', 'SOURCE', 'DESCRIPTION'], rows),
        );
      }),
    );
}

/** Searching needs no config, so that a folder without one is no error. */
async function configHere(folder: string): Promise<string | undefined> {
  const { access } = await import('node:fs/promises');
  for (const name of ['config.nix', 'shell.nix', 'replit.nix', 'flake.nix']) {
    try {
      await access(`${folder}/${name}`);
      return folder;
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

function limit(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 200) return value;
  throw new InvalidArgumentError('It takes a number from 1 to 200.');
}
