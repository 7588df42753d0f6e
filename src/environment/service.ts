/** What Berth does, as one port: the daemon's API exposes it, the tests and the command use it. */
import type { Priority } from '../builder/builder.ts';
import type { Digest } from '../core/digest.ts';
import type { Emit } from '../core/events.ts';
import type { BerthState, Engine, Isolation, Limits, PoolStatus } from '../engine/engine.ts';
import type { PackageMatch } from '../sources/source.ts';
import type { Mode } from './choose-mode.ts';
import type { Environment } from './environment.ts';
import type { Explanation } from './explain.ts';
import type { StoreHold } from './garbage-guard.ts';
import type { GenerationDifference } from './generation-difference.ts';
import type { GenerationOrigin } from './generations.ts';

/** Handed to long work: where its events go, and when to give up. */
export interface WorkContext {
  readonly emit: Emit;
  readonly signal?: AbortSignal;
  /** Set within the flow: keeps a garbage collection from beginning while new paths have no root. */
  readonly hold?: StoreHold;
  /** Who asks, where the builder is to be fair between several. */
  readonly tenant?: string;
  /** How urgent it is to the builder. Default `interactive`: somebody waits. */
  readonly priority?: Priority;
}

export interface PublishedPort {
  readonly host: number;
  readonly container: number;
}

export interface EnvironmentRequest {
  /** A config file or a folder that holds one; absolute. */
  readonly path: string;
  /** Adds Nix itself, speaking to the shared store's daemon. */
  readonly withNix?: boolean;
  /** Nix's name of the system that the packages are for; default: this machine's. Others are for images only. */
  readonly system?: string;
  /** Variables that the config's evaluation may read. */
  readonly passEnv?: Readonly<Record<string, string>>;
  /** Tries even what has failed several times in a row just now. */
  readonly retry?: boolean;
}

export interface UpRequest extends EnvironmentRequest {
  readonly name?: string;
  readonly mode?: 'shell' | 'image' | 'registry' | 'auto';
  readonly engine?: 'embedded' | 'docker' | 'kubernetes' | 'auto';
  readonly limits?: Partial<Limits>;
  readonly network?: 'none' | 'host' | 'bridge';
  readonly isolation?: Isolation;
  readonly ports?: readonly PublishedPort[];
}

/** A berth that has another environment now. Where nothing was different, `from` and `to` are the same. */
export interface SwitchReport {
  readonly name: string;
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly difference: GenerationDifference | null;
  /** Whether it needed a new container (mode image, other ports or command), so that what ran has ended. */
  readonly replaced: boolean;
}

export interface GenerationSummary {
  readonly number: number;
  /** Whether the berth has it now. */
  readonly current: boolean;
  /** ISO 8601. */
  readonly at: string;
  readonly origin: GenerationOrigin;
  /** Of a rollback: the generation that it led back to. */
  readonly of: number | null;
  readonly environmentDigest: Digest;
  readonly configDigest: Digest;
  readonly packages: readonly { readonly name: string; readonly version: string; readonly source: string }[];
  /** Against the one before; null for the first. */
  readonly difference: GenerationDifference | null;
}

export interface BerthHistory {
  readonly name: string;
  readonly id: string;
  /** The number of the generation that it has. */
  readonly current: number;
  /** Whether that is what the config means now. `unknown`: only an evaluation could tell. */
  readonly config: 'same' | 'differs' | 'unknown';
  /** The newest first. */
  readonly generations: readonly GenerationSummary[];
}

export interface RollbackResult extends SwitchReport {
  /** The generation whose environment it has. */
  readonly of: number;
  readonly environmentDigest: Digest;
  readonly ms: number;
}

export type StageCache = 'hit' | 'miss';

export interface CacheReport {
  readonly environment: StageCache;
  readonly build: StageCache | 'none';
  readonly image: StageCache | 'none';
}

/** Milliseconds that each stage took; a stage that was not needed took 0. */
export interface StageTimings {
  readonly read: number;
  readonly evaluate: number;
  readonly build: number;
  readonly libraries: number;
  readonly materialise: number;
  readonly start: number;
  readonly total: number;
}

export interface EnvironmentResult {
  readonly environment: Environment;
  readonly configDigest: Digest;
  readonly cache: CacheReport;
  readonly timingsMs: StageTimings;
}

/** Libraries of one lock file, as a berth has them. */
export interface LibrarySummary {
  /** `npm`, `python`, `cargo` or `go`. */
  readonly manager: string;
  readonly cache: StageCache;
  readonly packages: number;
  readonly storePath: string;
  /** Where they are in the berth. */
  readonly folders: readonly string[];
  /** How to keep what is installed by hand: a command. */
  readonly keepHint: string;
}

/** What `berth up --json` prints. */
export interface UpResult {
  readonly name: string;
  readonly id: string;
  readonly state: 'ready';
  readonly mode: Mode;
  /** Why it has that mode. */
  readonly modeReason: string;
  readonly engine: Engine['name'];
  readonly configDigest: Digest;
  readonly environmentDigest: Digest;
  /** Of the image's manifest; null in mode `shell`. */
  readonly imageDigest: Digest | null;
  readonly cache: CacheReport;
  readonly closure: { readonly paths: number; readonly bytes: number };
  readonly libraries: readonly LibrarySummary[];
  /** The number of the berth's environment in its history. */
  readonly generation: number;
  /** From what a berth that was there was switched; null for a new one, and for one that had the environment. */
  readonly switched: SwitchReport | null;
  readonly timingsMs: StageTimings;
}

/** A berth that lives as long as the command that is run in it. */
export interface EphemeralBerth {
  readonly id: string;
  readonly name: string;
  /** The agent's socket on the host. */
  readonly agentSocket: string;
  readonly cache: CacheReport;
  readonly timingsMs: StageTimings;
}

export interface BerthSummary {
  readonly id: string;
  readonly name: string;
  readonly state: BerthState['state'];
  readonly exitCode: number | null;
  readonly engine: Engine['name'];
  readonly mode: Mode;
  /** The project folder. */
  readonly directory: string;
  readonly environmentDigest: Digest;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly ports: readonly PublishedPort[];
  readonly agentSocket: string;
}

export interface LogChunk {
  readonly data: Uint8Array;
}

export interface LockResult {
  readonly lockFile: string;
  readonly sources: readonly { readonly name: string; readonly label: string; readonly changed: boolean }[];
}

export interface PackagesEdited {
  readonly file: string;
  readonly names: readonly string[];
  /** The running berths of the config, which were given what it means now. */
  readonly switched: readonly SwitchReport[];
}

export interface EditOptions {
  /** Leaves running berths as they are. */
  readonly noSwitch?: boolean;
}

export interface BerthService {
  /** Makes the environment ready and a berth with it; a berth of that name that runs is given the new environment. */
  up(request: UpRequest, context: WorkContext): Promise<UpResult>;
  environment(request: EnvironmentRequest, context: WorkContext): Promise<EnvironmentResult>;
  /** @returns a started berth that the caller removes by `remove` when its command has ended */
  run(request: UpRequest, context: WorkContext): Promise<EphemeralBerth>;
  list(): Promise<BerthSummary[]>;
  get(nameOrId: string): Promise<BerthSummary>;
  stop(nameOrId: string, graceMs: number): Promise<void>;
  start(nameOrId: string, context: WorkContext): Promise<BerthSummary>;
  remove(nameOrId: string): Promise<void>;
  /** The pools of the engines that are there, as they are now. */
  pool(): Promise<PoolStatus[]>;
  logs(nameOrId: string, options: { readonly follow: boolean; readonly signal?: AbortSignal }): AsyncIterable<LogChunk>;
  /** Says why each stage would hit or miss now; runs no evaluation. */
  explain(request: EnvironmentRequest, context: WorkContext): Promise<Explanation>;
  /** Locks the config's sources; `update` names those to ask upstream for again, an empty list all of them. */
  lock(path: string, options: { readonly update?: readonly string[] }, context: WorkContext): Promise<LockResult>;
  search(path: string | undefined, query: string, limit: number, context: WorkContext): Promise<PackageMatch[]>;
  /** Writes packages into a config, and switches its running berths. */
  addPackages(
    path: string,
    names: readonly string[],
    context: WorkContext,
    options?: EditOptions,
  ): Promise<PackagesEdited>;
  removePackages(
    path: string,
    names: readonly string[],
    context: WorkContext,
    options?: EditOptions,
  ): Promise<PackagesEdited>;
  /**
   * The same for a berth's own config, asked for by a command in it, which is not trusted.
   * @throws BerthError CONFIG_OUTSIDE where a link leads out of the project
   */
  editFromInside(
    nameOrId: string,
    edit: 'add' | 'remove',
    names: readonly string[],
    context: WorkContext,
  ): Promise<PackagesEdited>;
  history(nameOrId: string): Promise<BerthHistory>;
  /**
   * Gives a berth an environment that it had, without evaluating; the config stays as it is.
   * @param options to: default the generation before
   * @throws BerthError GENERATION_UNKNOWN, GENERATION_GONE
   */
  rollback(nameOrId: string, options: { readonly to?: number }, context: WorkContext): Promise<RollbackResult>;
  /** `up`, and again each time that something which the config's evaluation read is saved. Ends when it is cancelled. */
  watch(request: UpRequest, context: WorkContext): Promise<void>;
}

/**
 * The same for a config that is a hit: nothing has to be evaluated, built or locked for it. Undefined where something has
 * to; nothing was done then.
 */
export interface ReadyService {
  environment(request: EnvironmentRequest, context: WorkContext): EnvironmentResult | undefined;
  up(request: UpRequest, context: WorkContext): Promise<UpResult | undefined>;
  /** @returns as BerthService.run */
  run(request: UpRequest, context: WorkContext): Promise<EphemeralBerth | undefined>;
}
