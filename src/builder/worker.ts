/**
 * The worker's port: a sandbox in which Nix builds and downloads into the shared store. A worker has its own processes,
 * folders and devices, sees the store and the system's programs, and neither secrets nor homes. Its two adapters are
 * process-worker.ts and container-worker.ts; worker-contract.ts is the suite of both.
 */
import type { Emit } from '../core/events.ts';
import type { BinaryCache, Realised } from '../nix/realise.ts';

export interface WorkerTask {
  /** Derivations to build, or store paths to download. */
  readonly paths: readonly string[];
  /** Caches to ask besides those of the settings. */
  readonly caches?: readonly BinaryCache[];
  /** A link that becomes a garbage-collection root of the one output. */
  readonly rootLink?: string;
}

export interface WorkerTaskContext {
  readonly emit: Emit;
  readonly signal?: AbortSignal;
  /** Where the builds' output is written. */
  readonly logFile?: string;
}

export interface Worker {
  readonly isolation: 'process' | 'container';
  /** From 1 on. */
  readonly number: number;
  /**
   * Builds to the end. One task at a time.
   * @throws BerthError as realise() of nix/realise.ts, and WORKER_DIED when the worker was killed: nothing is left of it
   */
  run(task: WorkerTask, context: WorkerTaskContext): Promise<Realised>;
}
