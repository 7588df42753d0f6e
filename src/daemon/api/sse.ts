/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) as a Response. */

export interface SentEvent {
  readonly event: string;
  readonly data: unknown;
  readonly id?: number;
  /** May be left out when the client does not keep up. */
  readonly droppable?: boolean;
}

export type Send = (event: SentEvent) => void;

/** Bytes waiting for a slow client above which droppable events are left out. */
const maxWaitingBytes = 256 * 1024;
/** So that proxies and clients notice a dead connection. */
const heartbeatMs = 15_000;

/** @returns the event as it goes over the wire */
export function formatEvent({ event, data, id }: SentEvent): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  // JSON has no line breaks of its own, so one data line holds it.
  return `${idLine}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/**
 * Streams events until `produce` is done.
 * @param produce gets the function that sends, and a signal that aborts when the client has gone
 */
export function eventStream(
  clientGone: AbortSignal,
  produce: (send: Send, signal: AbortSignal) => Promise<void>,
): Response {
  const cancelled = new AbortController();
  const signal = AbortSignal.any([clientGone, cancelled.signal]);
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const write = (text: string): void => {
          if (!signal.aborted) controller.enqueue(encoder.encode(text));
        };
        const heartbeat = setInterval(() => write(': alive\n\n'), heartbeatMs);
        const send: Send = (event) => {
          if (event.droppable && (controller.desiredSize ?? 0) <= 0) return;
          write(formatEvent(event));
        };
        // Sent at once, so that the client has the headers before the first event.
        write(': open\n\n');
        void produce(send, signal).finally(() => {
          clearInterval(heartbeat);
          if (!signal.aborted) controller.close();
        });
      },
      cancel() {
        cancelled.abort();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: maxWaitingBytes }),
  );
  return new Response(stream, {
    headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache, no-transform' },
  });
}
