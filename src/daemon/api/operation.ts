/** One way to add an operation to the API: checked input, one call of the service, and an answer as JSON or as events. */
import { randomBytes } from 'node:crypto';
import { createRoute, type OpenAPIHono, type z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { stopwatch } from '../../core/clock.ts';
import { asBerthError, BerthError, type ErrorCode, type Fault } from '../../core/errors.ts';
import type { EventBus } from '../../core/events.ts';
import type { WorkContext } from '../../environment/service.ts';
import type { Activity } from '../activity.ts';
import { errorResponseSchema } from './schemas.ts';
import { eventStream } from './sse.ts';

/** What every operation runs within. */
export interface OperationHost {
  readonly bus: EventBus;
  readonly activity: Activity;
  /** Aborts when the daemon can't wait for work any longer. */
  readonly shutdown?: AbortSignal;
  /** Told of errors with their cause, for the log; the client gets the report only. */
  readonly onError?: (error: BerthError) => void;
}

export interface OperationInput<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
}

export interface Operation<Params, Query, Body, Output> {
  /** The operation's name in the document, in metrics and in event subjects. */
  readonly id: string;
  readonly method: 'get' | 'post' | 'delete';
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly params?: z.ZodObject & z.ZodType<Params>;
  readonly query?: z.ZodObject & z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
  readonly output: z.ZodType<Output>;
  /**
   * Long work is answered by events where the client accepts `text/event-stream`: its events as `event`, then one
   * `result` or `error`.
   */
  readonly long?: boolean;
  /**
   * Holds an event stream open after its result, until the client goes; for what must not outlive the client.
   * @param signal aborts when the client has gone
   */
  readonly lease?: (output: Output, signal: AbortSignal) => Promise<void>;
  readonly work: (input: OperationInput<Params, Query, Body>, context: WorkContext) => Promise<Output>;
}

const statusOfCode: Partial<Record<ErrorCode, ContentfulStatusCode>> = {
  BERTH_UNKNOWN: 404,
  IMAGE_UNKNOWN: 404,
  BUILD_UNKNOWN: 404,
  BUILD_THROTTLED: 429,
  NAME_TAKEN: 409,
  UNAUTHORIZED: 401,
  DAEMON_RESTARTING: 503,
};
const statusOfFault = { user: 400, system: 500, upstream: 502 } as const satisfies Record<Fault, ContentfulStatusCode>;

/** @returns the HTTP status for an error: by its code where that has one of its own, else by whose fault it is */
export function statusOf(error: BerthError): ContentfulStatusCode {
  // Nginx's status for a request whose client has gone; nobody reads it, but logs and metrics tell it apart.
  if (error.code === 'CANCELLED') return 499 as ContentfulStatusCode;
  return statusOfCode[error.code] ?? statusOfFault[error.fault];
}

/** @returns the answer for an error */
export function errorResponse(c: Context, error: BerthError): Response {
  return c.json({ error: error.report() }, statusOf(error));
}

/** Adds an operation to the API and its document. */
export function addOperation<Output, Params = unknown, Query = unknown, Body = unknown>(
  app: OpenAPIHono,
  host: OperationHost,
  operation: Operation<Params, Query, Body, Output>,
): void {
  const json = { 'application/json': { schema: operation.output } };
  const events = { 'text/event-stream': { schema: { type: 'string' as const } } };
  const route = createRoute({
    method: operation.method,
    path: operation.path,
    operationId: operation.id,
    tags: [operation.tag],
    summary: operation.summary,
    request: {
      ...(operation.params ? { params: operation.params } : {}),
      ...(operation.query ? { query: operation.query } : {}),
      ...(operation.body
        ? { body: { required: true, content: { 'application/json': { schema: operation.body } } } }
        : {}),
    },
    responses: {
      200: { description: 'The result.', content: operation.long ? { ...json, ...events } : json },
      default: {
        description: 'An error of the catalogue.',
        content: { 'application/json': { schema: errorResponseSchema } },
      },
    },
  });
  app.openapi(route, ((c: Context) => {
    const valid = c.req as unknown as { valid(target: 'param' | 'query' | 'json'): unknown };
    const input = {
      params: (operation.params ? valid.valid('param') : {}) as Params,
      query: (operation.query ? valid.valid('query') : {}) as Query,
      body: (operation.body ? valid.valid('json') : {}) as Body,
    };
    return answer(c, host, operation, input);
    // The answer is one of two media types, which the library's handler type can't say.
  }) as never);
}

async function answer<Params, Query, Body, Output>(
  c: Context,
  host: OperationHost,
  operation: Operation<Params, Query, Body, Output>,
  input: OperationInput<Params, Query, Body>,
): Promise<Response> {
  const subject = `${operation.id}:${randomBytes(6).toString('hex')}`;
  const emit = host.bus.emitter(subject);
  const elapsed = stopwatch();
  const end = host.activity.begin();
  const { signal: clientGone, release } = cancelledBy(
    { signal: c.req.raw.signal, message: 'The client went away.' },
    { signal: host.shutdown, message: 'The daemon was told to end.' },
  );
  const finish = (status: number): void => {
    release();
    end();
    emit({ type: 'request.finished', operation: operation.id, status, ms: elapsed() });
  };
  const reported = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      const known = asBerthError(error);
      emit({ type: 'failed', error: known.report() });
      host.onError?.(known);
      throw known;
    }
  };

  if (!operation.long || !acceptsEvents(c)) {
    try {
      const output = await reported(() => operation.work(input, { emit, signal: clientGone }));
      // Nobody is there to end what was made.
      if (clientGone.aborted) await reported(async () => operation.lease?.(output, clientGone));
      finish(200);
      return c.json(output);
    } catch (error) {
      const known = asBerthError(error);
      finish(statusOf(known));
      return errorResponse(c, known);
    }
  }

  return eventStream(clientGone, async (send, streamSignal) => {
    const { signal } = cancelledBy({ signal: streamSignal, message: 'The client went away.' });
    const unsubscribe = host.bus.subscribe((event) => {
      if (event.subject !== subject) return;
      send({ event: 'event', data: event, droppable: event.type === 'progress' || event.type === 'log' });
    });
    try {
      const output = await reported(() => operation.work(input, { emit, signal }));
      unsubscribe();
      send({ event: 'result', data: output });
      await reported(async () => operation.lease?.(output, signal));
      finish(200);
    } catch (error) {
      const known = asBerthError(error);
      unsubscribe();
      send({ event: 'error', data: known.report() });
      finish(statusOf(known));
    }
  });
}

function acceptsEvents(c: Context): boolean {
  return c.req.header('accept')?.includes('text/event-stream') ?? false;
}

/**
 * Work that is cancelled is to fail with an error of the catalogue, whatever the signals' own reasons are.
 * @returns the signal, and a function that takes the listeners away; the daemon's own signal outlives the request
 */
function cancelledBy(...causes: readonly { signal: AbortSignal | undefined; message: string }[]) {
  const controller = new AbortController();
  const released = new AbortController();
  for (const { signal, message } of causes) {
    const abort = () => controller.abort(new BerthError('CANCELLED', message));
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true, signal: released.signal });
  }
  return { signal: controller.signal, release: () => released.abort() };
}
