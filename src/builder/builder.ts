/**
 * The builder's port: work is submitted by a key, done once however many ask for it at the same time, and told as events.
 * A job is a function; one that builds with Nix asks for a worker, which is a sandbox of its own.
 */
import type { BerthError, ErrorReport } from '../core/errors.ts';
import type { BerthEvent, Emit } from '../core/events.ts';
import type { Priority } from './fair-queue.ts';
import type { Worker } from './worker.ts';

export type { Priority } from './fair-queue.ts';

export interface JobContext {
  readonly buildId: string;
  /** Goes to all who wait, and into the build's own record. */
  readonly emit: Emit;
  /** Aborts when nobody waits any more, when the build is cancelled, and at the job's timeout. */
  readonly signal: AbortSignal;
  /** Which try it is, from 1 on. */
  readonly attempt: number;
  /** Where the log is kept; made by whoever writes first. */
  readonly logFile: string;
  /** Adds a line to the log. */
  readonly log: (line: string) => void;
}

export interface WorkerContext extends JobContext {
  readonly worker: Worker;
}

interface JobBase<Result> {
  /** Names what comes out: jobs of the same key are one. */
  readonly key: string;
  /** `environment`, `evaluation`, `image` …: each kind has slots and a queue of its own. */
  readonly kind: string;
  /** For people. */
  readonly title: string;
  /** Who asks; the queue is fair between tenants. Default `local`. */
  readonly tenant?: string;
  /** Default `normal`. */
  readonly priority?: Priority;
  /** Milliseconds that one try may take. Default: the builder's. */
  readonly timeoutMs?: number;
  /**
   * Whether there is a record, a log and a lease: for work that takes long enough for people to look at. Then the result
   * must be plain JSON. Default true.
   */
  readonly recorded?: boolean;
  /** What the job can be made again from by a later daemon, as JSON; without it, it is not taken up after a crash. */
  readonly resume?: unknown;
  /** Tries even what has just failed several times. */
  readonly force?: boolean;
  /** @returns what is there already, made since the caller looked; undefined where nothing is */
  readonly done?: () => Result | undefined;
}

/** Work that needs nothing but a slot. */
export interface FunctionJob<Result> extends JobBase<Result> {
  readonly worker?: false;
  readonly run: (context: JobContext) => Promise<Result>;
}

/** Work that needs a worker for itself. */
export interface WorkerJob<Result> extends JobBase<Result> {
  readonly worker: true;
  readonly run: (context: WorkerContext) => Promise<Result>;
}

export type Job<Result> = FunctionJob<Result> | WorkerJob<Result>;

export interface Caller {
  /** Gets all events of the build, those from before it came included. */
  readonly emit: Emit;
  /** Aborting it ends this call; the build ends only with its last caller. */
  readonly signal?: AbortSignal;
}

export interface Submitted<Result> {
  readonly value: Result;
  /** Null where it was done already. */
  readonly buildId: string | null;
  /** Whether the work was under way, or done, already. */
  readonly joined: boolean;
}

export type BuildState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export interface BuildSummary {
  readonly id: string;
  readonly key: string;
  readonly kind: string;
  readonly title: string;
  readonly tenant: string;
  readonly priority: Priority;
  readonly state: BuildState;
  /** Its place in the queue, from 1 on; null where it is not queued, or by another daemon. */
  readonly position: number | null;
  readonly attempts: number;
  /** How many wait for it now, in this daemon. */
  readonly callers: number;
  readonly error: ErrorReport | null;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
}

/** An event of a build with its number, from 1 on, and its time in milliseconds since the epoch. */
export interface BuildEvent {
  readonly seq: number;
  readonly at: number;
  readonly event: BerthEvent;
}

export interface BuilderStatistics {
  readonly workers: number;
  readonly busyWorkers: number;
  readonly queued: number;
  readonly running: number;
}

export interface Builder {
  /**
   * Does the work, or joins whoever does it. Work that fails by the system's fault is tried again.
   * @throws BerthError what the work throws; BUILD_THROTTLED, BUILD_TIMEOUT, WORKER_DIED, CANCELLED
   */
  submit<Result>(job: Job<Result>, caller: Caller): Promise<Submitted<Result>>;
  /** @returns the builds that are remembered, the newest first */
  list(options?: { readonly active?: boolean; readonly limit?: number }): BuildSummary[];
  /** @throws BerthError BUILD_UNKNOWN */
  get(id: string): BuildSummary;
  /** All events from the start, or from after `after`, to the end of the build. */
  events(id: string, options?: { readonly after?: number; readonly signal?: AbortSignal }): AsyncIterable<BuildEvent>;
  /** The log's bytes; with `follow` to the end of the build. */
  log(id: string, options: { readonly follow: boolean; readonly signal?: AbortSignal }): AsyncIterable<Uint8Array>;
  /** Ends the build for all who wait for it. One that has ended stays as it is. @throws BerthError BUILD_UNKNOWN */
  cancel(id: string): void;
  /** Says how jobs of a kind are made again from their `resume`. */
  resumable(kind: string, make: (kept: unknown) => Job<unknown> | undefined): void;
  /** Takes up what another daemon left when it was killed; call it once all kinds are known. @returns their ids */
  takeUp(): string[];
  statistics(): BuilderStatistics;
  /** Ends what runs; it is taken up again by the next daemon. */
  close(): Promise<void>;
}

/** @returns whether trying again may help although nothing has changed: the fault is the system's, and passing */
export function isPassing(error: BerthError): boolean {
  return error.code === 'WORKER_DIED' || error.code === 'LAUNCH_FAILED' || error.code === 'INTERNAL';
}
