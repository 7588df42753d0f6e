/** The applets of a busybox, read from the program itself, so that one for another machine need not be run. */
import { BerthError } from '../../core/errors.ts';

/** busybox/applets: all names in one block, sorted, each ended by NUL; `[` and `[[` come first. */
const beginning = Buffer.from('\0[\0[[\0');

/**
 * @returns the names in the order that `busybox --list` has
 * @throws BerthError TOOL_MISSING when the program is no busybox with all its names
 */
export function appletsOf(busybox: Buffer): string[] {
  const names: string[] = [];
  let at = busybox.indexOf(beginning) + 1;
  while (at > 0) {
    const end = busybox.indexOf(0, at);
    const name = busybox.toString('latin1', at, Math.max(at, end));
    if (!/^[a-z0-9[._-]+$/.test(name) || name <= (names.at(-1) ?? '')) break;
    names.push(name);
    at = end + 1;
  }
  if (names.includes('sh')) return names;
  throw new BerthError(
    'TOOL_MISSING',
    'The program is no busybox that holds a shell; the package busybox-static has it.',
  );
}
