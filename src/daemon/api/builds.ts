/** Builds: list, one, its events and log, cancel. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { BuildSummary } from '../../builder/builder.ts';
import { priorities } from '../../builder/fair-queue.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { errorResponseSchema } from './schemas.ts';
import { eventStream } from './sse.ts';

const tag = 'builds';
const params = z.strictObject({ id: z.string().min(1) });

const buildSchema = z
  .object({
    id: z.string(),
    key: z.string().openapi({ description: 'What is built; for an environment its derivation.' }),
    kind: z.string(),
    title: z.string(),
    tenant: z.string(),
    priority: z.enum(priorities),
    state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
    position: z.int().nullable().openapi({ description: 'Its place in the queue, from 1 on.' }),
    attempts: z.int(),
    callers: z.int().openapi({ description: 'How many wait for it now.' }),
    error: errorResponseSchema.shape.error.nullable(),
    createdAt: z.string(),
    startedAt: z.string().nullable(),
    finishedAt: z.string().nullable(),
  })
  .openapi('Build') as unknown as z.ZodType<BuildSummary>;

export function addBuilds(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { builder } = dependencies;

  addOperation(app, dependencies, {
    id: 'listBuilds',
    method: 'get',
    path: '/v1/builds',
    tag,
    summary: 'Lists builds, the newest first.',
    query: z.strictObject({
      active: z.enum(['true', 'false']).default('false').openapi({ description: 'Only those that have not ended.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100),
    }),
    output: z.object({ builds: z.array(buildSchema) }),
    work: ({ query }) =>
      Promise.resolve({ builds: builder.list({ active: query.active === 'true', limit: query.limit }) }),
  });

  addOperation(app, dependencies, {
    id: 'getBuild',
    method: 'get',
    path: '/v1/builds/{id}',
    tag,
    summary: 'Tells about one build.',
    params,
    output: buildSchema,
    work: async ({ params: { id } }) => Promise.resolve(builder.get(id)),
  });

  addOperation(app, dependencies, {
    id: 'cancelBuild',
    method: 'delete',
    path: '/v1/builds/{id}',
    tag,
    summary: 'Ends a build for all who wait for it. One that has ended stays as it is.',
    params,
    output: z.object({ done: z.literal(true) }),
    work: async ({ params: { id } }) => {
      builder.cancel(id);
      return Promise.resolve({ done: true as const });
    },
  });

  addBuildEvents(app, dependencies);
  addBuildLog(app, dependencies);
}

/** All from the start, or from after `Last-Event-ID`; ends with the build. */
function addBuildEvents(app: OpenAPIHono, { builder }: ApiDependencies): void {
  app.openapi(
    {
      method: 'get',
      path: '/v1/builds/{id}/events',
      getRoutingPath: () => '/v1/builds/:id/events',
      operationId: 'buildEvents',
      tags: [tag],
      summary:
        'Streams the events of a build from its start: its place in the queue, phases, derivations, bytes, log lines. ' +
        'With `Last-Event-ID`, those after it. Ends with the build.',
      request: { params, headers: z.object({ 'last-event-id': z.string().optional() }) },
      responses: { 200: { description: 'Events.', content: { 'text/event-stream': { schema: z.string() } } } },
    },
    (c) => {
      const { id } = c.req.valid('param');
      const last = Number(c.req.header('last-event-id') ?? '0');
      // Asked first, so that an unknown id is an error and not an empty stream.
      builder.get(id);
      return eventStream(c.req.raw.signal, async (send, signal) => {
        for await (const { seq, at, event } of builder.events(id, {
          after: Number.isInteger(last) ? last : 0,
          signal,
        })) {
          send({ id: seq, event: 'event', data: { ...event, at, subject: `build:${id}` } });
        }
      });
    },
  );
}

function addBuildLog(app: OpenAPIHono, { builder }: ApiDependencies): void {
  const query = z.strictObject({ follow: z.enum(['true', 'false']).default('false') });
  app.openapi(
    {
      method: 'get',
      path: '/v1/builds/{id}/log',
      getRoutingPath: () => '/v1/builds/:id/log',
      operationId: 'buildLog',
      tags: [tag],
      summary: 'Streams what the derivations of a build printed.',
      request: { params, query },
      responses: { 200: { description: 'The log.', content: { 'application/octet-stream': { schema: z.string() } } } },
    },
    (c) => {
      const { id } = c.req.valid('param');
      builder.get(id);
      const gone = new AbortController();
      const signal = AbortSignal.any([c.req.raw.signal, gone.signal]);
      const chunks = builder
        .log(id, { follow: c.req.valid('query').follow === 'true', signal })
        [Symbol.asyncIterator]();
      const stream = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const next = await chunks.next();
          if (next.done) controller.close();
          else controller.enqueue(next.value);
        },
        cancel: () => gone.abort(),
      });
      return c.body(stream, 200, { 'content-type': 'application/octet-stream' });
    },
  );
}
