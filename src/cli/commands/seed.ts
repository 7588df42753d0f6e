import type { Command } from 'commander';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import type { SeedMoveRequest, SeedsMoved } from '../../environment/storage.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { formatAge, formatBytes, formatTable } from '../../core/format.ts';

export function seedCommand(context: CommandContext): Command {
  const command = newCommand('seed', 'Have packages in the store before they are needed.', [
    'berth seed add python3 nodejs git',
    'berth seed export seeds.tar',
  ]);
  for (const add of [addCommand, listCommand, removeCommand, exportCommand, importCommand, pushCommand, pullCommand]) {
    command.addCommand(add(context));
  }
  return command.addCommand(suggestCommand(context));
}

function addCommand(context: CommandContext): Command {
  return newCommand('add', "Bring packages, or a config's environment, into the store and keep them there.", [
    'berth seed add python3 nodejs git',
    'berth seed add ~/project',
    'berth seed add --update python3',
  ])
    .argument('<what...>', 'names of packages in the default source; paths of configs or of folders that hold one')
    .option('--update', 'ask upstream for the current revision of the default source first')
    .action((what: readonly string[], options: CommonOptions & { update?: true }) =>
      runCommand(context, options, async (run) => {
        // A package's name never has a slash; a folder of that name is meant only when it is written as a path.
        const isPath = (text: string) => text.includes('/') || text === '.' || text === '..' || text.endsWith('.nix');
        const result = await run.client.addSeeds(
          {
            names: what.filter((text) => !isPath(text)),
            configs: what.filter(isPath).map((text) => run.path(text)),
            update: options.update ?? false,
          },
          run.call,
        );
        run.result(result, () =>
          result.seeds.map((seed) => `${seed.name}: ${formatBytes(seed.closure.bytes)}`).join('\n'),
        );
        for (const { name, error } of result.failed) {
          context.stderr.write(`${run.style.red('error')}: ${name}: ${error.message} ${error.hint}\n`);
        }
        const [first] = result.failed;
        if (first) context.exitCode = BerthError.fromReport(first.error).exitCode;
      }),
    );
}

function listCommand(context: CommandContext): Command {
  return newCommand('list', 'List seeds: what they hold, how large they are, and when they were last used.', [
    'berth seed list',
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const seeds = await run.client.listSeeds(run.call);
      const now = Date.now();
      const rows = seeds.map((seed) => [
        seed.name,
        seed.kind === 'package' ? (seed.packages[0]?.version ?? '') : `${seed.packages.length} packages`,
        seed.sources.join(', '),
        String(seed.closure.paths),
        formatBytes(seed.closure.bytes),
        seed.usedAt === null ? 'never' : `${formatAge(now - Date.parse(seed.usedAt))} ago`,
      ]);
      run.result({ seeds }, () =>
        seeds.length === 0
          ? 'There are no seeds.'
          : formatTable(['SEED', 'VERSION', 'SOURCE', 'PATHS', 'SIZE', 'USED'], rows),
      );
    }),
  );
}

function removeCommand(context: CommandContext): Command {
  return newCommand('remove', 'Let seeds go; `berth gc` frees what nothing else needs.', ['berth seed remove python3'])
    .argument('<names...>', 'names of packages, or paths of configs, as `berth seed list` tells them')
    .action((names: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const meant = names.map((name) => asSeed(name, context));
        await run.client.removeSeeds(meant, run.call);
        run.result({ names: meant }, () => '');
      }),
    );
}

interface MoveOptions extends CommonOptions {
  readonly key?: string;
}

function exportCommand(context: CommandContext): Command {
  return newCommand('export', 'Write seeds as one compressed archive, to work from where there is no network.', [
    'berth seed export seeds.tar',
    'berth seed export seeds.tar python3 git --key secret.key',
  ])
    .argument('<file>', 'the archive; an existing one is replaced when the new one is whole')
    .argument('[names...]', 'seeds; default: all')
    .option('--key <file>', 'a secret key that signs what is written')
    .action((file: string, names: readonly string[], options: MoveOptions) =>
      runCommand(context, options, async (run) => {
        const moved = await run.client.exportSeeds(run.path(file), moveRequest(names, options, context), run.call);
        run.result(moved, () => describe(moved, 'Wrote', 'to'));
      }),
    );
}

function importCommand(context: CommandContext): Command {
  return newCommand('import', 'Take the seeds of an archive.', [
    'berth seed import seeds.tar',
    'berth seed import seeds.tar --trust',
  ])
    .argument('<file>', 'an archive of `berth seed export`')
    .option('--trust', 'take it although no trusted key has signed it')
    .action((file: string, options: CommonOptions & { trust?: true }) =>
      runCommand(context, options, async (run) => {
        const moved = await run.client.importSeeds(run.path(file), options.trust ?? false, run.call);
        run.result(moved, () => describe(moved, 'Took', 'from'));
      }),
    );
}

function pushCommand(context: CommandContext): Command {
  return newCommand('push', 'Copy seeds to a binary cache.', [
    'berth seed push /srv/cache --key secret.key',
    'berth seed push https://cache.example.org python3',
  ])
    .argument('<place>', 'a folder, or the URL of a binary cache that takes uploads')
    .argument('[names...]', 'seeds; default: all')
    .option('--key <file>', 'a secret key that signs what is written')
    .action((place: string, names: readonly string[], options: MoveOptions) =>
      runCommand(context, options, async (run) => {
        const moved = await run.client.pushSeeds(
          asPlace(place, context),
          moveRequest(names, options, context),
          run.call,
        );
        run.result(moved, () => describe(moved, 'Copied', 'to'));
      }),
    );
}

function pullCommand(context: CommandContext): Command {
  return newCommand('pull', 'Take the seeds of a binary cache that `berth seed push` filled.', [
    'berth seed pull https://cache.example.org',
    'berth seed pull /srv/cache --trust',
  ])
    .argument('<place>', 'a folder, or the URL of a binary cache')
    .option('--trust', 'take it although no trusted key has signed it')
    .action((place: string, options: CommonOptions & { trust?: true }) =>
      runCommand(context, options, async (run) => {
        const moved = await run.client.pullSeeds(asPlace(place, context), options.trust ?? false, run.call);
        run.result(moved, () => describe(moved, 'Took', 'from'));
      }),
    );
}

function suggestCommand(context: CommandContext): Command {
  return newCommand('suggest', 'Rank packages by what having them as seeds would spare.', [
    'berth seed suggest',
    "berth seed add $(berth seed suggest --json | jq -r '.suggestions[] | select(.seeded | not) | .name')",
  ]).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const suggestions = await run.client.suggestSeeds(20, run.call);
      const now = Date.now();
      const rows = suggestions.map((it) => [
        it.name,
        it.version,
        String(it.projects),
        String(it.environments),
        formatBytes(it.bytes),
        `${formatAge(now - Date.parse(it.usedAt))} ago`,
        it.seeded ? 'yes' : '',
      ]);
      run.result({ suggestions }, () =>
        suggestions.length === 0
          ? 'Nothing was used yet.'
          : formatTable(['PACKAGE', 'VERSION', 'PROJECTS', 'ENVIRONMENTS', 'SIZE', 'USED', 'SEEDED'], rows),
      );
    }),
  );
}

/** A config is known by its file's path; its folder, or a relative path, means the same. */
function asSeed(name: string, context: CommandContext): string {
  if (!name.includes('/') && !name.endsWith('.nix') && name !== '.') return name;
  const path = resolve(context.cwd, name);
  const found = ['config.nix', 'shell.nix', 'replit.nix', 'flake.nix'].find((file) => existsSync(`${path}/${file}`));
  return found === undefined ? path : `${path}/${found}`;
}

function asPlace(place: string, context: CommandContext): string {
  return /^[a-z]+:\/\//.test(place) ? place : resolve(context.cwd, place);
}

function moveRequest(names: readonly string[], options: MoveOptions, context: CommandContext): SeedMoveRequest {
  return {
    ...(names.length > 0 ? { names: names.map((name) => asSeed(name, context)) } : {}),
    ...(options.key === undefined ? {} : { keyFile: resolve(context.cwd, options.key) }),
  };
}

function describe(moved: SeedsMoved, verb: string, preposition: string): string {
  const { paths, bytes } = moved.closure;
  const size = moved.bytes === null ? '' : `, ${formatBytes(moved.bytes)} as an archive`;
  const count = `${moved.names.length} seed${moved.names.length === 1 ? '' : 's'}`;
  return `${verb} ${count} ${preposition} ${moved.place}: ${paths} paths, ${formatBytes(bytes)}${size}.`;
}
