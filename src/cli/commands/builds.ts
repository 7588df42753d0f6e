import type { Command } from 'commander';
import type { BuildSummary } from '../../builder/builder.ts';
import { formatAge, formatDuration, formatTable } from '../../core/format.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';

export function buildsCommand(context: CommandContext): Command {
  return newCommand('builds', 'Tell what is built and was built, and cancel builds.', [
    'berth builds list --active',
    'berth builds logs -f ID',
    'berth builds cancel ID',
  ])
    .addCommand(listCommand(context))
    .addCommand(showCommand(context))
    .addCommand(logsCommand(context))
    .addCommand(cancelCommand(context));
}

function listCommand(context: CommandContext): Command {
  return newCommand('list', 'List builds, the newest first.', ['berth builds list --active'])
    .option('--active', 'only those that have not ended')
    .action((options: CommonOptions & { active?: true }) =>
      runCommand(context, options, async (run) => {
        const builds = await run.client.listBuilds(options.active ?? false, run.call);
        run.result({ builds }, () =>
          builds.length === 0
            ? 'There are no builds.'
            : formatTable(['ID', 'WHAT', 'STATE', 'TOOK', 'BEGUN'], builds.map(rowOf)),
        );
      }),
    );
}

function rowOf(build: BuildSummary): string[] {
  const begun = Date.parse(build.startedAt ?? build.createdAt);
  const ended = build.finishedAt === null ? Date.now() : Date.parse(build.finishedAt);
  const state = build.position === null ? build.state : `queued (${build.position})`;
  return [build.id, build.title, state, formatDuration(ended - begun), `${formatAge(Date.now() - begun)} ago`];
}

function showCommand(context: CommandContext): Command {
  return newCommand('show', 'Tell about one build.', ['berth builds show ID'])
    .argument('<id>', 'as `berth builds list` tells it')
    .action((id: string, options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        const build = await run.client.getBuild(id, run.call);
        run.result(build, () => {
          const lines = Object.entries(build).filter(([, value]) => value !== null && typeof value !== 'object');
          const error = build.error ? [`error: ${build.error.code}: ${build.error.message}`] : [];
          return [...lines.map(([name, value]) => `${name}: ${String(value)}`), ...error].join('\n');
        });
      }),
    );
}

function logsCommand(context: CommandContext): Command {
  return newCommand('logs', 'Print what the derivations of a build printed.', ['berth builds logs -f ID'])
    .argument('<id>', 'as `berth builds list` tells it')
    .option('-f, --follow', 'go on until the build ends or Ctrl-C')
    .action((id: string, options: CommonOptions & { follow?: true }) =>
      runCommand(context, options, async (run) => {
        const decoder = new TextDecoder();
        let text = '';
        for await (const chunk of run.client.buildLog(id, options.follow ?? false, run.call)) {
          if (run.json) text += decoder.decode(chunk, { stream: true });
          else context.stdout.write(chunk);
        }
        if (run.json) run.result({ id, log: text + decoder.decode() }, () => '');
      }),
    );
}

function cancelCommand(context: CommandContext): Command {
  return newCommand('cancel', 'End builds, for all who wait for them.', ['berth builds cancel ID'])
    .argument('<id...>', 'as `berth builds list` tells them')
    .action((ids: readonly string[], options: CommonOptions) =>
      runCommand(context, options, async (run) => {
        for (const id of ids) await run.client.cancelBuild(id, run.call);
        run.result({ cancelled: ids }, () => ids.join('\n'));
      }),
    );
}
