/** The berth that a command means when it names none: that of the folder in which it is run. */
import { realpathSync } from 'node:fs';
import { BerthError } from '../core/errors.ts';
import type { Run } from './context.ts';

/** @throws BerthError USAGE where the folder has none, or more than one */
export async function berthNameOf(run: Run): Promise<string> {
  const folder = realpathSync(run.path(undefined));
  const berths = (await run.client.list(run.call)).filter((berth) => realpathIfThere(berth.directory) === folder);
  const [berth] = berths;
  if (berth && berths.length === 1) return berth.name;
  throw new BerthError(
    'USAGE',
    berth
      ? `${folder} has ${berths.length} berths: ${berths.map(({ name }) => name).join(', ')}.`
      : `${folder} has no berth.`,
    { hint: 'Name one: `berth ps` lists them.' },
  );
}

function realpathIfThere(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
