/** Has all that the configs download in the cache, so that what is measured is this machine's work. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { readTextIfThere, writeFileAtomically } from '../../core/files.ts';
import { createBenchHome, type BenchHomeOptions } from './bench-home.ts';
import { configText, type BenchConfig } from './configs.ts';

export interface FillOptions {
  readonly folder: string;
  readonly home: BenchHomeOptions;
  readonly configs: readonly BenchConfig[];
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Does nothing where the cache was filled for these configs before, or where a store is given that has them. */
export async function fillCache({ folder, home: options, configs, say, signal }: FillOptions): Promise<void> {
  if (options.storeRoot !== undefined) return;
  const packages = [...new Set(configs.flatMap((config) => [...config.packages, config.added]))].sort();
  const stamp = join(folder, `filled-${createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 16)}`);
  if ((await readTextIfThere(stamp)) !== undefined) return;
  say('Downloading what the configs need');
  const home = await createBenchHome(options);
  try {
    await home.writeConfig(configText(packages));
    await home.client.environment({ path: home.project }, { signal });
  } finally {
    await home.close();
  }
  await writeFileAtomically(stamp, '');
}
