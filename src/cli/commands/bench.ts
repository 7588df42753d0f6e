import { Option, InvalidArgumentError, type Command } from 'commander';
import type { BenchHomeOptions } from '../bench/bench-home.ts';
import { newCommand, runCommand, type CommandContext, type CommonOptions, type Run } from '../context.ts';

interface ModesFlags extends CommonOptions {
  readonly engine: string;
  readonly configs?: number;
  readonly atOnce: number;
  readonly samples: number;
  readonly out?: string;
  readonly cache?: string;
  readonly store?: string;
}

export function benchCommand(context: CommandContext): Command {
  return newCommand('bench', 'Measure Berth on this machine.', [
    'berth bench modes',
    'berth bench modes --configs 2 --at-once 4',
  ]).addCommand(modesCommand(context));
}

function modesCommand(context: CommandContext): Command {
  return newCommand(
    'modes',
    'Compare the modes shell, image and registry: time to ready, bytes moved and disk taken, on real configs.',
    ['berth bench modes --out results', 'berth bench modes --json | jq .reorderingIsFree'],
  )
    .addOption(
      new Option('--engine <engine>', 'what runs the containers')
        .choices(['embedded', 'docker', 'auto'])
        .default('auto'),
    )
    .option('--configs <number>', 'so many of the ten configs, from the first on', count)
    .option('--at-once <number>', 'berths that are asked for at the same moment, besides one alone', count, 16)
    .option('--samples <number>', 'how often warm and reordered starts are measured', count, 3)
    .option('--out <folder>', 'where modes.json and modes.md are written')
    .option('--store <folder>', 'use this store, to try the comparison out; then cold is not cold')
    .option('--cache <folder>', 'where downloads are kept from run to run; default: in the home of Berth')
    .action((options: ModesFlags) =>
      runCommand(context, options, async (run) => {
        const { modesMarkdown } = await import('../bench/markdown.ts');
        const result = await compareModes(run, options);
        const markdown = modesMarkdown(result);
        if (options.out !== undefined) await writeResults(run.path(options.out), result, markdown);
        run.result(result, () => markdown);
      }),
    );
}

async function compareModes(run: Run, options: ModesFlags) {
  const [{ benchConfigs }, { measureModes }, { startMirrorCache }, { fillCache }, mirrorsOf, path] = await Promise.all([
    import('../bench/configs.ts'),
    import('../bench/modes.ts'),
    import('../bench/mirror-cache.ts'),
    import('../bench/fill-cache.ts'),
    import('../bench/upstreams.ts'),
    import('node:path'),
  ]);
  const { context } = run;
  const say = (line: string): void => {
    if (!run.quiet) context.stderr.write(`${line}\n`);
  };
  const configs = benchConfigs.slice(0, options.configs);
  const folder =
    options.cache === undefined ? path.join(run.settings.home, 'bench/downloads') : run.path(options.cache);
  const downloads = await startMirrorCache(folder);
  try {
    const upstreams = await mirrorsOf.upstreamMirrors(run.settings);
    const mirrors: BenchHomeOptions['mirrors'] = {
      main: downloads.urlOf(upstreams.main),
      security: downloads.urlOf(upstreams.security),
    };
    const home: BenchHomeOptions = {
      env: context.env,
      engine: options.engine,
      mirrors,
      ...(options.store === undefined ? {} : { storeRoot: run.path(options.store) }),
    };
    await fillCache({ folder, home, configs, say, signal: run.signal });
    const atOnce = [...new Set([1, options.atOnce])];
    return await measureModes({ home, downloads, configs, atOnce, samples: options.samples, say, signal: run.signal });
  } finally {
    await downloads.close();
  }
}

async function writeResults(folder: string, result: object, markdown: string): Promise<void> {
  const [{ writeFileAtomically }, { mkdir }, path] = await Promise.all([
    import('../../core/files.ts'),
    import('node:fs/promises'),
    import('node:path'),
  ]);
  await mkdir(folder, { recursive: true });
  await writeFileAtomically(path.join(folder, 'modes.json'), `${JSON.stringify(result, null, 2)}\n`);
  await writeFileAtomically(path.join(folder, 'modes.md'), `${markdown}\n`);
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 1000) return value;
  throw new InvalidArgumentError('It takes a whole number from 1 to 1000.');
}
