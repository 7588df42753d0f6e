/** The command's process: streams, signals and the exit code. */
import { asBerthError, BerthError } from '../core/errors.ts';
import { readFileIfPossible, type CommandContext } from './context.ts';
import { runProgram } from './program.ts';
import { renderError } from '../core/render-error.ts';
import { createStyle, wantsColours } from '../core/style.ts';

const cancel = new AbortController();
const onSignal = (signal: NodeJS.Signals): void => {
  // The first one cancels, so that the daemon is told and nothing half-made is left; the second one does not wait.
  if (cancel.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
  cancel.abort(new BerthError('CANCELLED', 'The command was cancelled.'));
};
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
// `berth ps | head`: the reader has gone, so there is nobody to tell.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 74));

const all = process.argv.slice(2);
const dashes = all.indexOf('--');
const args = dashes < 0 ? all : all.slice(0, dashes);
const context: CommandContext = {
  env: process.env,
  cwd: process.cwd(),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: cancel.signal,
  afterDashes: dashes < 0 ? undefined : all.slice(dashes + 1),
  exitCode: 0,
  // Known before the command line is parsed, for errors in the command line itself.
  common: { ...(args.includes('--json') ? { json: true } : {}) },
};

try {
  await runProgram(args, context);
} catch (error) {
  const known = asBerthError(error);
  context.exitCode = known.exitCode;
  if (context.common.json) process.stdout.write(`${JSON.stringify({ error: known.report() })}\n`);
  else {
    const style = createStyle(wantsColours(process.stderr.isTTY, process.env));
    const verbose = context.common.verbose ?? false;
    process.stderr.write(renderError(known, { style, readFile: readFileIfPossible, verbose }));
  }
}
process.exitCode = context.exitCode;
