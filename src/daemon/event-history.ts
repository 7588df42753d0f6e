/** Keeps the newest events with numbers, so that a client that was away can be told what it missed. */
import type { EventBus, PublishedEvent } from '../core/events.ts';

export interface NumberedEvent {
  readonly id: number;
  readonly event: PublishedEvent;
}

export interface EventHistory {
  /** @returns the kept events after `id`, oldest first */
  after(id: number): readonly NumberedEvent[];
  /** Calls the listener with each event from now on. @returns a function that ends it */
  follow(listener: (event: NumberedEvent) => void): () => void;
  close(): void;
}

/**
 * @param capacity how many events are kept; older ones are forgotten
 */
export function createEventHistory(bus: EventBus, capacity = 2000): EventHistory {
  const kept: NumberedEvent[] = [];
  const listeners = new Set<(event: NumberedEvent) => void>();
  let last = 0;
  const unsubscribe = bus.subscribe((event) => {
    last += 1;
    const numbered = { id: last, event };
    kept.push(numbered);
    // Trimmed in blocks: removing one from the front for each event would copy the array each time.
    if (kept.length > capacity * 1.25) kept.splice(0, kept.length - capacity);
    for (const listener of listeners) listener(numbered);
  });
  return {
    after: (id) => kept.slice(-capacity).filter((numbered) => numbered.id > id),
    follow(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: unsubscribe,
  };
}
