import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { packageRoot } from '../../core/package-root.ts';
import type { UpResult } from '../../environment/service.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions, type Run } from '../context.ts';
import { formatDuration, formatTable } from '../../core/format.ts';
import { captureSession } from '../session.ts';

/** The projects of examples/demo: what runs in them, and a package that is added to them. */
const projects = [
  { name: 'python', argv: ['python3', 'main.py'], added: 'jq' },
  { name: 'node', argv: ['node', 'main.js'], added: 'jq' },
  { name: 'search', argv: ['sh', 'main.sh'], added: 'jq' },
] as const;

interface DemoRow {
  readonly project: string;
  readonly cold: UpResult;
  readonly warm: UpResult;
  readonly commentEdit: UpResult;
  readonly packageAdded: UpResult;
  /** What the project's program printed in its container. */
  readonly output: string;
}

export function demoCommand(context: CommandContext): Command {
  return newCommand(
    'demo',
    'Make three example projects ready, edit their configs, and show how long each step took.',
    ['berth demo', 'berth demo --json | jq .rows[0].warm.timingsMs'],
  ).action((options: CommonOptions) =>
    runCommand(context, options, async (run) => {
      const rows: DemoRow[] = [];
      for (const project of projects) rows.push(await demonstrate(run, project));
      run.result({ rows }, () => renderDemo(rows));
    }),
  );
}

async function demonstrate(run: Run, project: (typeof projects)[number]): Promise<DemoRow> {
  const name = `demo-${project.name}`;
  const folder = copyProject(run, project.name);
  const config = join(folder, 'config.nix');
  const edit = (change: (text: string) => string) => writeFileSync(config, change(readFileSync(config, 'utf8')));
  const up = () => run.client.up({ path: folder, name }, run.call);

  say(run, `${name}: ${folder}`);
  const cold = await up();
  const output = await runProgram(run, name, project.argv);
  say(run, `  ${project.argv.join(' ')}: ${output.trim()}`);
  const warm = await up();
  edit((text) => `# An edit that means nothing.\n${text}`);
  const commentEdit = await up();
  edit((text) => text.replace(/(\w+)\.(\w+) ?\]/, `$1.$2 $1.${project.added} ]`));
  const packageAdded = await up();
  await runProgram(run, name, [project.added, '--version']);
  return { project: project.name, cold, warm, commentEdit, packageAdded, output };
}

/** The lock stays when the demo is run again, so that the second time needs no network. */
function copyProject(run: Run, name: string): string {
  const folder = join(run.settings.home, 'demo', name);
  mkdirSync(folder, { recursive: true });
  rmSync(join(folder, 'config.nix'), { force: true });
  cpSync(join(packageRoot, 'examples/demo', name), folder, { recursive: true });
  return folder;
}

async function runProgram(run: Run, name: string, argv: readonly string[]): Promise<string> {
  const { agentSocket } = await run.client.get(name, run.call);
  const { stdout, stderr, exitCode } = await captureSession(run.context, { agentSocket, argv });
  if (exitCode === 0) return stdout;
  const { BerthError } = await import('../../core/errors.ts');
  throw new BerthError('INTERNAL', `${argv.join(' ')} in ${name} ended with ${exitCode}: ${stderr.trim()}`);
}

function say(run: Run, line: string): void {
  if (run.quiet || run.json) return;
  run.progress.clear();
  run.context.stderr.write(`${line}\n`);
}

/** @returns the table of timings, and what can be done next */
export function renderDemo(rows: readonly DemoRow[]): string {
  const cell = (result: UpResult) => formatDuration(result.timingsMs.total);
  const first = (result: UpResult) => `${cell(result)}${result.cache.build === 'hit' ? ' (built before)' : ''}`;
  return [
    '',
    formatTable(
      ['BERTH', 'COLD', 'WARM', 'COMMENT EDITED', 'PACKAGE ADDED', 'STORE PATHS'],
      rows.map((row) => [
        `demo-${row.project}`,
        first(row.cold),
        cell(row.warm),
        cell(row.commentEdit),
        cell(row.packageAdded),
        String(row.packageAdded.closure.paths),
      ]),
    ),
    '',
    `${rows.length} containers run: berth ps, berth exec demo-python -- python3, berth rm ${rows.map((row) => `demo-${row.project}`).join(' ')}`,
  ].join('\n');
}
