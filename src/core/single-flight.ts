/** One flight for each key: callers that ask for the same work at the same time share one run of it. */

/**
 * Shares running work by key. The work gets its own signal, which aborts only when every caller has gone, so that one
 * caller's Ctrl-C does not take the result from the others.
 */
export class SingleFlight<Key, Value> {
  readonly #flights = new Map<Key, { promise: Promise<Value>; controller: AbortController; waiting: number }>();

  /**
   * @param key what the work is for
   * @param work started when no flight for the key is under way
   * @param signal the caller's own; aborting it rejects this call only
   * @returns the flight's value, and whether this call joined one that was under way
   */
  async run(
    key: Key,
    work: (signal: AbortSignal) => Promise<Value>,
    signal?: AbortSignal,
  ): Promise<{ value: Value; joined: boolean }> {
    signal?.throwIfAborted();
    const existing = this.#flights.get(key);
    const flight = existing ?? this.#start(key, work);
    flight.waiting += 1;
    try {
      const value = await abortable(flight.promise, signal);
      return { value, joined: existing !== undefined };
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) flight.controller.abort();
    }
  }

  get size(): number {
    return this.#flights.size;
  }

  #start(key: Key, work: (signal: AbortSignal) => Promise<Value>) {
    const controller = new AbortController();
    const flight = { promise: work(controller.signal), controller, waiting: 0 };
    this.#flights.set(key, flight);
    const forget = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    // A flight that nobody waits for any more is being aborted: a new caller must not join it.
    controller.signal.addEventListener('abort', forget, { once: true });
    flight.promise.then(forget, forget);
    return flight;
  }
}

/** @returns the promise's value, or rejects as soon as the signal aborts */
export async function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
