/** An error in words: what happened, where in the user's file, and what to do next. */
import type { BerthError } from './errors.ts';
import type { Style } from './style.ts';

export interface RenderErrorOptions {
  readonly style: Style;
  /** @returns a file's text, or undefined where it can't be read */
  readonly readFile: (path: string) => string | undefined;
  /** Adds causes and stacks. */
  readonly verbose: boolean;
}

/** @returns some lines, the last with a line break */
export function renderError(error: BerthError, { style, readFile, verbose }: RenderErrorOptions): string {
  const lines = [`${style.red(style.bold(`error[${error.code}]`))}: ${error.message}`];
  if (error.location) lines.push(...renderLocation(error.location, style, readFile));
  lines.push(...logLines(error).map((line) => `  ${style.dim('|')} ${line}`));
  const logFile = error.details?.['logFile'];
  if (typeof logFile === 'string') lines.push(`  ${style.blue('log')}: ${logFile}`);
  lines.push(`${style.blue('hint')}: ${error.hint}`);
  if (verbose) lines.push(...stacks(error).map((stack) => style.dim(stack)));
  return `${lines.join('\n')}\n`;
}

function renderLocation(
  location: NonNullable<BerthError['location']>,
  style: Style,
  readFile: RenderErrorOptions['readFile'],
): string[] {
  const { file, line, column } = location;
  const place = `${file}:${line}${column === undefined ? '' : `:${column}`}`;
  const source = readFile(file)?.split('\n')[line - 1];
  if (source === undefined) return [`  ${style.blue('-->')} ${place}`];
  const number = String(line);
  const margin = ' '.repeat(number.length);
  const bar = style.blue('|');
  return [
    `${margin} ${style.blue('-->')} ${place}`,
    `${margin} ${bar}`,
    `${style.blue(number)} ${bar} ${source.replaceAll('\t', ' ')}`,
    column === undefined ? `${margin} ${bar}` : `${margin} ${bar} ${' '.repeat(column - 1)}${style.red('^')}`,
  ];
}

/** The end of a build's log or the daemon's, where the error has one. */
function logLines(error: BerthError): string[] {
  const lines = error.details?.['log'] ?? error.details?.['logTail'];
  return Array.isArray(lines) ? lines.map(String) : [];
}

function stacks(error: BerthError): string[] {
  const found: string[] = [];
  for (let current: unknown = error; current instanceof Error && found.length < 8; current = current.cause) {
    found.push(current.stack ?? current.message);
  }
  return found;
}
