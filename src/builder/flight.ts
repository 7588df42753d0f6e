/** One build under way and all who wait for it: each gets every event, and it ends when the last has gone. */
import { BerthError } from '../core/errors.ts';
import type { BerthEvent, Emit } from '../core/events.ts';
import { abortable } from '../core/single-flight.ts';
import type { Caller } from './builder.ts';

export interface Flight<Result> {
  readonly signal: AbortSignal;
  readonly callers: number;
  /** Tells all who wait; whoever came first tells the rest of Berth too. */
  readonly emit: Emit;
  /** Waits for the result; tells first what has happened so far. @throws BerthError CANCELLED when the caller goes */
  wait(caller: Caller): Promise<Result>;
  /** Resolves when the work has ended, however it ended. */
  readonly settled: Promise<void>;
  /** Ends it for all. */
  abort(reason: BerthError): void;
}

export interface FlightOptions<Result> {
  readonly work: (flight: Pick<Flight<Result>, 'signal' | 'emit'>) => Promise<Result>;
  /** Takes each event, before the callers do. */
  readonly record?: Emit;
  /** Takes events when nobody waits. */
  readonly outside: Emit;
  /** Goes on though nobody waits: it was taken up after a crash. */
  readonly held?: boolean;
}

/** How many events are kept for those who come later; of progress the last counts only. */
const keptEvents = 10_000;

export function createFlight<Result>(options: FlightOptions<Result>): Flight<Result> {
  const controller = new AbortController();
  const { signal } = controller;
  const callers = new Set<Caller>();
  let history: BerthEvent[] = [];

  const emit: Emit = (event) => {
    options.record?.(event);
    if (event.type === 'progress' || event.type === 'build.queued') {
      history = history.filter((it) => !(it.type === event.type && unitOf(it) === unitOf(event)));
    }
    history.push(event);
    if (history.length > keptEvents * 1.1) history = history.slice(-keptEvents);
    if (callers.size === 0) options.outside(event);
    let first = true;
    for (const caller of callers) {
      caller.emit(first ? event : { ...event, joined: true });
      first = false;
    }
  };

  // After this turn, so that the first caller is there for the first event.
  const result = Promise.resolve().then(() => options.work({ signal, emit }));
  const settled = result.then(
    () => undefined,
    () => undefined,
  );

  return {
    signal,
    emit,
    settled,
    get callers() {
      return callers.size;
    },
    async wait(caller) {
      const joiner: Caller = { ...caller };
      for (const event of history) caller.emit({ ...event, joined: true });
      callers.add(joiner);
      try {
        return await abortable(result, caller.signal);
      } finally {
        callers.delete(joiner);
        if (callers.size === 0 && !options.held) {
          controller.abort(new BerthError('CANCELLED', 'Nobody waits for the build any more.'));
        }
      }
    },
    abort: (reason) => controller.abort(reason),
  };
}

function unitOf(event: BerthEvent): string {
  return event.type === 'progress' ? event.unit : '';
}
