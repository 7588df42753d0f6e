/**
 * Measures both sides of a comparison in one run, taking turns so that a drift of the machine's speed meets both, and
 * writes one JSON file a bench.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';

export interface Series {
  /** What was done, in words. */
  readonly what: string;
  readonly unit: 'ms' | 'bytes';
  readonly samples: readonly number[];
  readonly median: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
}

export interface BenchResult {
  readonly bench: string;
  readonly question: string;
  readonly series: Readonly<Record<string, Series>>;
  /** Ratios and differences, named by what they compare. */
  readonly figures: Readonly<Record<string, number>>;
  /** What the issue or design asked for, and whether it was met. */
  readonly bounds: readonly { readonly what: string; readonly bound: string; readonly met: boolean }[];
  readonly notes?: readonly string[];
}

export const resultsDirectory = resolve(import.meta.dirname, '../results');

/** @returns the statistics of some samples; percentiles by nearest rank */
export function series(what: string, unit: Series['unit'], samples: readonly number[]): Series {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? NaN;
  const round = (value: number) => Math.round(value * 100) / 100;
  return {
    what,
    unit,
    samples: samples.map(round),
    median: round(at(0.5)),
    p99: round(at(0.99)),
    min: round(at(0)),
    max: round(at(1)),
  };
}

/**
 * Runs each side `runs` times, in turns, after one run of each that is not counted.
 * @param sides name to the work; the work returns its own measure in ms, or nothing to be timed from outside
 * @param options pauseMs: waited before each, so that what one side does behind itself is not the other's time
 */
export async function inTurns(
  runs: number,
  sides: Readonly<Record<string, () => Promise<number | undefined> | number | undefined>>,
  { warmup = 1, pauseMs = 0 }: { readonly warmup?: number; readonly pauseMs?: number } = {},
): Promise<Record<string, number[]>> {
  const samples: Record<string, number[]> = Object.fromEntries(Object.keys(sides).map((side) => [side, []]));
  for (let run = -warmup; run < runs; run += 1) {
    for (const [name, work] of Object.entries(sides)) {
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const start = performance.now();
      const own = await work();
      const took = own ?? performance.now() - start;
      if (run >= 0) samples[name]?.push(took);
    }
  }
  return samples;
}

/** Runs a whole process and returns its wall time in ms; throws when it fails. */
export function timeProcess(program: string, args: readonly string[], env?: NodeJS.ProcessEnv): number {
  const start = performance.now();
  const result = spawnSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: env ?? process.env });
  const took = performance.now() - start;
  if (result.status !== 0) {
    throw new Error(`${program} ${args.join(' ')} exited with ${String(result.status)}: ${result.stderr.toString()}`);
  }
  return took;
}

/** Writes bench/results/NAME.json with the machine and the versions of what took part. */
export function writeResult(result: BenchResult): void {
  mkdirSync(resultsDirectory, { recursive: true });
  const file = join(resultsDirectory, `${result.bench}.json`);
  writeFileSync(
    file,
    `${JSON.stringify({ ...result, measuredAt: new Date().toISOString(), machine: machine() }, null, 2)}\n`,
  );
  console.log(
    `${result.bench}: ${Object.entries(result.figures)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}`,
  );
  for (const bound of result.bounds) console.log(`  ${bound.met ? 'met   ' : 'MISSED'} ${bound.what}: ${bound.bound}`);
}

function machine() {
  const version = (program: string, ...args: string[]) => {
    try {
      return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0];
    } catch {
      return 'not there';
    }
  };
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    nix: version('nix-store', '--version'),
    runc: version('runc', '--version'),
    docker: version('dockerd', '--version'),
    berth: (JSON.parse(readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string })
      .version,
  };
}
