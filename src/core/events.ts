/**
 * The one typed stream of what happens. Logs, metrics, the command's progress, the API and tests read it; nothing else
 * reports progress. A new kind of event is added to the union below.
 */
import type { ErrorReport } from './errors.ts';

/** The stages of the flow, in order; then what is done to the store besides. */
export type Phase =
  | 'read'
  | 'lock'
  | 'evaluate'
  | 'build'
  | 'libraries'
  | 'materialise'
  | 'ship'
  | 'start'
  | 'copy'
  | 'collect'
  | 'push'
  | 'pull';

type Event =
  | { readonly type: 'phase.started'; readonly phase: Phase; readonly detail?: string }
  | { readonly type: 'phase.finished'; readonly phase: Phase; readonly ms: number; readonly cache?: 'hit' | 'miss' }
  /** Progress within a phase. Units say what is counted; `total` is absent while it is unknown. */
  | {
      readonly type: 'progress';
      readonly phase: Phase;
      readonly unit: 'paths' | 'bytes' | 'packages';
      readonly done: number;
      readonly total?: number;
      readonly label?: string;
    }
  | { readonly type: 'derivation.started'; readonly derivation: string }
  | { readonly type: 'derivation.finished'; readonly derivation: string; readonly ms: number }
  | { readonly type: 'log'; readonly phase: Phase; readonly line: string }
  | { readonly type: 'warning'; readonly message: string; readonly data?: Readonly<Record<string, unknown>> }
  /** How an environment gets into its container, and why. */
  | { readonly type: 'mode.chosen'; readonly mode: string; readonly reason: string }
  | { readonly type: 'berth.state'; readonly id: string; readonly name: string; readonly state: string }
  /** An image that had to make room for others. */
  | {
      readonly type: 'image.evicted';
      readonly digest: string;
      readonly names: readonly string[];
      readonly freedBytes: number;
    }
  /** A berth has another environment: the numbers of its generations, and the packages by name. */
  | {
      readonly type: 'berth.switched';
      readonly id: string;
      readonly name: string;
      readonly from: number;
      readonly to: number;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  /** The pool of an engine: a launch that took a container that waited, one that did not, why there is none, its size. */
  | { readonly type: 'pool.claimed'; readonly engine: string; readonly id: string; readonly ms: number }
  | { readonly type: 'pool.missed' | 'pool.unavailable'; readonly engine: string; readonly reason: string }
  | {
      readonly type: 'pool.sized';
      readonly engine: string;
      readonly waiting: number;
      readonly target: number;
      readonly memoryBytes: number | null;
    }
  /** The daemon's own life, and the requests that it answered. */
  | { readonly type: 'daemon.started'; readonly version: string; readonly pid: number }
  | { readonly type: 'daemon.stopping'; readonly reason: string }
  | {
      readonly type: 'request.finished';
      /** The operation's name in docs/openapi.json, or `hot.` and the command that berth-hot asked for. */
      readonly operation: string;
      readonly status: number;
      readonly ms: number;
    }
  /** A build of the builder's: waits at a place of the queue, runs, is tried again, has ended. */
  | { readonly type: 'build.queued'; readonly build: string; readonly title: string; readonly position: number }
  | {
      readonly type: 'build.started';
      readonly build: string;
      readonly kind: string;
      readonly attempt: number;
      readonly waitedMs: number;
      readonly worker?: number;
      readonly isolation?: 'process' | 'container';
    }
  | {
      readonly type: 'build.retried';
      readonly build: string;
      readonly attempt: number;
      readonly afterMs: number;
      readonly error: ErrorReport;
    }
  | {
      readonly type: 'build.finished';
      readonly build: string;
      readonly kind: string;
      readonly outcome: 'succeeded' | 'failed' | 'cancelled';
      readonly ms: number;
      readonly error?: ErrorReport;
    }
  | { readonly type: 'failed'; readonly error: ErrorReport };

/** `joined` is set on what another piece of work has told already: it is shown, but not counted again. */
export type BerthEvent = Event & { readonly joined?: true };

/** An event as it is published: with the time and the piece of work that it belongs to. */
export type PublishedEvent = BerthEvent & {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Which request, build or berth it belongs to; the same for joiners of one flight. */
  readonly subject: string;
};

/** Takes events of one piece of work. Pass it down; do not look for a global one. */
export type Emit = (event: BerthEvent) => void;

/** Swallows events, for callers that have no listener. */
export const silent: Emit = () => undefined;

type Listener = (event: PublishedEvent) => void;

/** Hands each event to all listeners, in order; a listener that throws does not harm the others or the work. */
export class EventBus {
  readonly #listeners = new Set<Listener>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** @returns an emitter whose events carry `subject` */
  emitter(subject: string): Emit {
    return (event) => this.publish({ ...event, at: this.#now(), subject });
  }

  publish(event: PublishedEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        process.emitWarning(`An event listener failed: ${String(error)}`);
      }
    }
  }

  /** @returns a function that ends the subscription */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
