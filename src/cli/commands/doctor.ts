import type { Command } from 'commander';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import type { DoctorReport } from '../../daemon/doctor.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions } from '../context.ts';
import { packageRoot } from '../../core/package-root.ts';
import type { Style } from '../../core/style.ts';

export function doctorCommand(context: CommandContext): Command {
  return newCommand('doctor', 'Tell what Berth needs, what is there, and how to get what is missing.', [
    'berth doctor',
    'berth doctor --fix',
    'berth doctor --json | jq \'.checks[] | select(.status != "ok")\'',
  ])
    .option('--fix', 'install what is missing, by scripts/setup')
    .action((options: CommonOptions & { fix?: true }) =>
      runCommand(context, options, async (run) => {
        // In this process: what the daemon needs may be what is missing.
        const { runDoctor } = await import('../../daemon/doctor.ts');
        const check = () => runDoctor({ settings: run.settings, packageRoot, signal: run.signal });
        let report = await check();
        if (options.fix && !report.ok) {
          await fix();
          report = await check();
        }
        run.result(report, () => renderReport(report, run.style));
        if (!report.ok) context.exitCode = 69;
      }),
    );
}

/** Runs scripts/setup, which says what it does on stderr. */
async function fix(): Promise<void> {
  const script = join(packageRoot, 'scripts/setup');
  if (!existsSync(script)) {
    throw new BerthError('TOOL_MISSING', `There is no ${script}.`, {
      hint: 'Install by hand what `berth doctor` names.',
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn(script, [], { stdio: ['ignore', process.stderr, process.stderr] });
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new BerthError('TOOL_MISSING', `scripts/setup ended with ${code ?? 'a signal'}; it says above why.`);
}

/** @returns a line for each check, and how to get what is missing */
export function renderReport(report: DoctorReport, style: Style): string {
  const marks = { ok: style.green('ok     '), warning: style.yellow('warning'), missing: style.red('missing') };
  const width = Math.max(...report.checks.map((check) => check.name.length));
  const lines = report.checks.flatMap(({ name, status, detail, fix }) => [
    `${marks[status]}  ${name.padEnd(width)}  ${detail}`,
    ...(fix === undefined ? [] : [`${' '.repeat(11 + width)}${style.bold(fix)}`]),
  ]);
  return [
    ...lines,
    '',
    report.ok ? 'Nothing is missing.' : 'Something is missing; `berth doctor --fix` installs it.',
  ].join('\n');
}
