/** Berths: up, run, list, stop, start, remove, logs. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { UpRequest } from '../../environment/service.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { berthSummarySchema, ephemeralBerthSchema, upRequestSchema, upResultSchema } from './schemas.ts';

const tag = 'berths';
const done = z.object({ done: z.literal(true) });
const isDone = { done: true } as const;
const params = z.strictObject({ name: z.string().min(1).openapi({ description: 'A name or id.' }) });

export function addBerths(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { service } = dependencies;

  addOperation(app, dependencies, {
    id: 'up',
    method: 'post',
    path: '/v1/berths',
    tag,
    summary: "Makes a config's environment ready and a berth with it.",
    body: upRequestSchema,
    output: upResultSchema,
    long: true,
    work: ({ body }, context) => service.up(body as UpRequest, context),
  });

  addOperation(app, dependencies, {
    id: 'run',
    method: 'post',
    path: '/v1/runs',
    tag,
    summary:
      'Starts a berth for one command. With an event stream, the stream stays open after its result, and the berth is ' +
      'removed when the client closes it; with JSON, the client removes the berth.',
    body: upRequestSchema,
    output: ephemeralBerthSchema,
    long: true,
    work: ({ body }, context) => service.run(body as UpRequest, context),
    lease: async (berth, signal) => {
      await aborted(signal);
      await service.remove(berth.id);
    },
  });

  addOperation(app, dependencies, {
    id: 'listBerths',
    method: 'get',
    path: '/v1/berths',
    tag,
    summary: 'Lists all berths, running or not.',
    output: z.object({ berths: z.array(berthSummarySchema) }),
    work: async () => ({ berths: await service.list() }),
  });

  addOperation(app, dependencies, {
    id: 'getBerth',
    method: 'get',
    path: '/v1/berths/{name}',
    tag,
    summary: 'Tells about one berth.',
    params,
    output: berthSummarySchema,
    work: ({ params: { name } }) => service.get(name),
  });

  addOperation(app, dependencies, {
    id: 'stopBerth',
    method: 'post',
    path: '/v1/berths/{name}/stop',
    tag,
    summary: "Ends a berth's processes. The berth stays, and can be started again.",
    params,
    body: z.strictObject({ graceMs: z.int().nonnegative().default(10_000) }),
    output: done,
    work: async ({ params: { name }, body }) => {
      await service.stop(name, body.graceMs);
      return isDone;
    },
  });

  addOperation(app, dependencies, {
    id: 'startBerth',
    method: 'post',
    path: '/v1/berths/{name}/start',
    tag,
    summary: 'Starts a stopped berth.',
    params,
    output: berthSummarySchema,
    long: true,
    work: ({ params: { name } }, context) => service.start(name, context),
  });

  addOperation(app, dependencies, {
    id: 'removeBerth',
    method: 'delete',
    path: '/v1/berths/{name}',
    tag,
    summary: 'Removes a berth; a running one is ended.',
    params,
    output: done,
    work: async ({ params: { name } }) => {
      await service.remove(name);
      return isDone;
    },
  });

  addLogs(app, dependencies);
}

/** The log is bytes, not JSON, so that it is as the berth's command wrote it. */
function addLogs(app: OpenAPIHono, { service, activity }: ApiDependencies): void {
  const query = z.strictObject({ follow: z.enum(['true', 'false']).default('false') });
  app.openapi(
    {
      method: 'get',
      path: '/v1/berths/{name}/logs',
      getRoutingPath: () => '/v1/berths/:name/logs',
      operationId: 'berthLogs',
      tags: [tag],
      summary: "Streams the output of the berth's command.",
      request: { params, query },
      responses: {
        200: { description: 'The output.', content: { 'application/octet-stream': { schema: z.string() } } },
      },
    },
    async (c) => {
      const { name } = c.req.valid('param');
      // Asked first, so that an unknown name is an error and not an empty log.
      await service.get(name);
      const follow = c.req.valid('query').follow === 'true';
      const gone = new AbortController();
      const signal = AbortSignal.any([c.req.raw.signal, gone.signal]);
      const chunks = service.logs(name, { follow, signal })[Symbol.asyncIterator]();
      const end = activity.begin();
      const stream = new ReadableStream<Uint8Array>({
        async pull(controller) {
          try {
            const next = await chunks.next();
            if (!next.done) {
              controller.enqueue(next.value.data);
              return;
            }
          } catch (error) {
            if (!signal.aborted) {
              end();
              controller.error(error);
              return;
            }
          }
          end();
          controller.close();
        },
        cancel() {
          gone.abort();
          end();
        },
      });
      return c.body(stream, 200, { 'content-type': 'application/octet-stream' });
    },
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
