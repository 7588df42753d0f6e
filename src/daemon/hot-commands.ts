/**
 * The forms of commands that berth-hot may answer. Only plain ones are known here: anything else, a mistake included, is
 * left to the Node command, which knows every flag and words every error.
 */
import { resolve } from 'node:path';

export type HotCommand =
  /** argv empty: a shell. */
  | { readonly verb: 'run'; readonly path: string; readonly argv: readonly string[] }
  | { readonly verb: 'exec'; readonly name: string; readonly argv: readonly string[] }
  | { readonly verb: 'env'; readonly path: string; readonly json: boolean }
  | { readonly verb: 'up'; readonly path: string; readonly name?: string; readonly json: boolean }
  | { readonly verb: 'ps'; readonly json: boolean; readonly quiet: boolean };

/**
 * @param args the command line without the program's name
 * @param cwd the caller's folder
 * @returns the command, or undefined when it is not one of the plain forms
 */
export function parseHotCommand(args: readonly string[], cwd: string): HotCommand | undefined {
  const [verb, ...rest] = args;
  const dashes = rest.indexOf('--');
  const words = rest.slice(0, dashes < 0 ? undefined : dashes);
  const after = dashes < 0 ? undefined : rest.slice(dashes + 1);
  // The one flag with a value that is known here.
  const named = verb === 'up' ? words.indexOf('--name') : -1;
  const name = named < 0 ? undefined : words[named + 1];
  if (named >= 0) words.splice(named, 2);
  const flags = words.filter((word) => word.startsWith('-'));
  const operands = words.filter((word) => !word.startsWith('-'));
  const only = (...known: string[]): boolean => flags.every((flag) => known.includes(flag));
  const path = operands.length <= 1 ? resolve(cwd, operands[0] ?? '.') : undefined;

  switch (verb) {
    case 'run':
      return path !== undefined && only() && after && after.length > 0 ? { verb, path, argv: after } : undefined;
    case 'shell':
      return path !== undefined && only() && !after ? { verb: 'run', path, argv: [] } : undefined;
    case 'exec': {
      // What follows the name is the command, with flags of its own.
      const [berth, ...inline] = rest;
      const argv = after ?? inline;
      const plain = berth !== undefined && !berth.startsWith('-') && (dashes < 0 || dashes === 1);
      // The Node command takes `--json` before `--` for its own, wherever it stands.
      return plain && argv.length > 0 && !words.includes('--json') ? { verb, name: berth, argv } : undefined;
    }
    case 'env':
      return path !== undefined && !after && only('--sh', '--json')
        ? { verb, path, json: flags.includes('--json') }
        : undefined;
    case 'up':
      if (named >= 0 && (name === undefined || name.startsWith('-'))) return undefined;
      return path !== undefined && !after && only('--json')
        ? { verb, path, json: flags.includes('--json'), ...(name === undefined ? {} : { name }) }
        : undefined;
    case 'ps':
      return operands.length === 0 && !after && only('--json', '--quiet', '-q')
        ? { verb, json: flags.includes('--json'), quiet: flags.includes('--quiet') || flags.includes('-q') }
        : undefined;
    case undefined:
    default:
      return undefined;
  }
}
