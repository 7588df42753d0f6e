/** What `berth bench modes` measures: the form of its JSON. */
import type { DiskTaken } from './bench-home.ts';

export const modes = ['shell', 'image', 'registry'] as const;
export type BenchMode = (typeof modes)[number];

export const situations = ['cold', 'warm', 'reordered', 'added'] as const;
/** In the order in which they are measured. */
export type Situation = (typeof situations)[number];

export interface Measurement {
  readonly config: string;
  readonly mode: BenchMode;
  readonly situation: Situation;
  /** How many berths were asked for at the same moment. */
  readonly atOnce: number;
  /** Milliseconds from asking until all of them were ready; one number a sample. */
  readonly readyMs: readonly number[];
  /** The same until each was ready, over all samples. */
  readonly eachMs: readonly number[];
  readonly moved: MovedBytes;
  /** Whether something was built, or an image made, in any sample. */
  readonly built: boolean;
  readonly newImage: boolean;
  /** Whether the environment and the image are other ones than before. */
  readonly sameEnvironment: boolean;
  readonly sameImage: boolean;
  /** After it; null where it was not asked, or the store is others' too. */
  readonly disk: DiskTaken | null;
  readonly closureBytes: number;
}

/** The most of any sample. */
export interface MovedBytes {
  /** Lists and packages of the source, as they were downloaded. */
  readonly downloads: number;
  /** Layers that the engine did not have, as they are packed. */
  readonly layers: number;
}

export interface ModesResult {
  readonly bench: 'modes';
  readonly engine: string;
  readonly samples: number;
  /** Whether each home had an empty store of its own, so that cold is cold. */
  readonly ownStore: boolean;
  readonly configs: readonly { readonly name: string; readonly packages: readonly string[]; readonly added: string }[];
  readonly measurements: readonly Measurement[];
  readonly skipped: readonly { readonly mode: BenchMode; readonly reason: string }[];
  /** Whether reordering built nothing, made no image and moved no bytes, in each mode that ran. */
  readonly reorderingIsFree: boolean;
  /** What had to be fetched from the network while measuring; not 0: those times have the network in them. */
  readonly fetchedBytes: number;
  readonly tookMs: number;
  readonly measuredAt: string;
  readonly machine: Readonly<Record<string, string | number>>;
}

/** @returns whether the measurement cost nothing but the start of its berths */
export function isFree(it: Measurement): boolean {
  const { downloads, layers } = it.moved;
  return !it.built && !it.newImage && it.sameEnvironment && it.sameImage && downloads === 0 && layers === 0;
}
