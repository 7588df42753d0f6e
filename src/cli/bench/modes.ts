/**
 * The same configs through each mode, in the same situations. Cold is a home and a store of their own that hold nothing:
 * the source's lists, the evaluation, the build and the image are all made; downloads come from a cache on this machine.
 */
import { cpus, release, totalmem } from 'node:os';
import { BerthError } from '../../core/errors.ts';
import type { PublishedEvent } from '../../core/events.ts';
import { version } from '../../core/version.ts';
import type { UpResult } from '../../environment/service.ts';
import { createBenchHome, type BenchHome, type BenchHomeOptions } from './bench-home.ts';
import { configText, reordered, type BenchConfig } from './configs.ts';
import type { MirrorCache } from './mirror-cache.ts';
import { isFree, modes, type BenchMode, type Measurement, type ModesResult, type Situation } from './result.ts';

export interface ModesOptions {
  readonly home: BenchHomeOptions;
  readonly downloads: MirrorCache;
  readonly configs: readonly BenchConfig[];
  /** Numbers of berths at once, each measured. */
  readonly atOnce: readonly number[];
  /** Of what is measured more than once: warm and reordered. Cold and one added package happen once a home. */
  readonly samples: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Reasons for which a mode can't run here, as opposed to failing. */
const cannot = new Set(['MODE_UNSUPPORTED', 'ENGINE_UNAVAILABLE']);

export async function measureModes(options: ModesOptions): Promise<ModesResult> {
  const start = performance.now();
  const fetchedBefore = options.downloads.fetchedBytes;
  const measurements: Measurement[] = [];
  const skipped: { mode: BenchMode; reason: string }[] = [];
  const left = new Set<BenchMode>(modes);
  let engine = options.home.engine;
  for (const atOnce of options.atOnce) {
    for (const config of options.configs) {
      // In turns, so that a drift of the machine's speed meets all of them.
      for (const mode of left) {
        options.say(`${config.name}, mode ${mode}, ${atOnce} at once`);
        try {
          const measured = await measureConfig(config, mode, atOnce, options);
          measurements.push(...measured.measurements);
          engine = measured.engine;
        } catch (error) {
          if (!(error instanceof BerthError) || !cannot.has(error.code)) throw error;
          left.delete(mode);
          skipped.push({ mode, reason: error.message });
          options.say(`  mode ${mode} is left out: ${error.message}`);
        }
      }
    }
  }
  return {
    bench: 'modes',
    engine,
    samples: options.samples,
    ownStore: options.home.storeRoot === undefined,
    configs: options.configs,
    measurements,
    skipped,
    reorderingIsFree: measurements.filter((it) => it.situation === 'reordered').every(isFree),
    fetchedBytes: options.downloads.fetchedBytes - fetchedBefore,
    tookMs: round(performance.now() - start),
    measuredAt: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.version,
      berth: version,
    },
  };
}

async function measureConfig(config: BenchConfig, mode: BenchMode, atOnce: number, options: ModesOptions) {
  options.signal.throwIfAborted();
  const home = await createBenchHome(options.home);
  try {
    const names = Array.from({ length: atOnce }, (_, index) => `bench-${index}`);
    let before: UpResult | undefined;
    let engine = options.home.engine;
    const measure = async (situation: Situation, orders: readonly (readonly string[])[], withDisk: boolean) => {
      const rounds: Round[] = [];
      for (const packages of orders) {
        await home.writeConfig(configText(packages));
        rounds.push(await startAll(home, names, mode, options));
        for (const name of names) await home.client.remove(name);
      }
      const results = rounds.flatMap((round) => round.results);
      const [first] = results;
      if (!first) throw new BerthError('INTERNAL', `Nothing was measured ${situation}.`);
      const known = before ?? first;
      const measurement: Measurement = {
        config: config.name,
        ...{ mode, situation, atOnce },
        readyMs: rounds.map((it) => it.ms),
        eachMs: rounds.flatMap((it) => it.eachMs),
        moved: {
          downloads: Math.max(...rounds.map((it) => it.downloads)),
          layers: Math.max(...rounds.map((it) => it.layers)),
        },
        built: results.some((it) => it.cache.build === 'miss'),
        newImage: results.some((it) => it.cache.image === 'miss'),
        sameEnvironment: results.every((it) => it.environmentDigest === known.environmentDigest),
        sameImage: results.every((it) => it.imageDigest === known.imageDigest),
        disk: withDisk && options.home.storeRoot === undefined ? await home.diskTaken() : null,
        closureBytes: first.closure.bytes,
      };
      before = first;
      engine = first.engine;
      return measurement;
    };
    const turns = Array.from({ length: options.samples }, (_, index) => index + 1);
    const { packages } = config;
    const measurements = [
      await measure('cold', [packages], true),
      await measure(
        'warm',
        turns.map(() => packages),
        false,
      ),
      await measure('reordered', turns.map((turn) => reordered(packages, turn)), false), // prettier-ignore
      await measure('added', [[...packages, config.added]], true),
    ];
    return { measurements, engine };
  } finally {
    await home.close();
  }
}

interface Round {
  readonly results: readonly UpResult[];
  readonly ms: number;
  readonly eachMs: readonly number[];
  readonly downloads: number;
  readonly layers: number;
}

/** Asks for all berths at the same moment, and waits until all are ready. */
async function startAll(
  home: BenchHome,
  names: readonly string[],
  mode: BenchMode,
  { downloads, signal }: ModesOptions,
): Promise<Round> {
  const sentBefore = downloads.sentBytes;
  // What joiners of one piece of work are told belongs to it, and counts once.
  const layers = new Map<string, number>();
  const onEvent = (event: PublishedEvent): void => {
    if (event.type !== 'progress' || event.unit !== 'bytes' || event.joined) return;
    const isMove = event.phase === 'pull' || (event.phase === 'materialise' && event.label === 'layers');
    if (!isMove) return;
    const key = `${event.subject} ${event.phase} ${event.label ?? ''}`;
    layers.set(key, Math.max(layers.get(key) ?? 0, event.done));
  };
  const start = performance.now();
  const asked = await Promise.allSettled(
    names.map(async (name) => {
      const result = await home.client.up({ path: home.project, name, mode }, { onEvent, signal });
      return { result, ms: round(performance.now() - start) };
    }),
  );
  const failed = asked.find((it) => it.status === 'rejected');
  if (failed) throw failed.reason;
  const ready = asked.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []));
  return {
    results: ready.map((it) => it.result),
    ms: round(performance.now() - start),
    eachMs: ready.map((it) => it.ms),
    downloads: downloads.sentBytes - sentBefore,
    layers: [...layers.values()].reduce((sum, bytes) => sum + bytes, 0),
  };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
