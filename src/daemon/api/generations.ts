/** A berth's environments: history, rollback, and following its config. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { UpRequest } from '../../environment/service.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { berthHistorySchema, rollbackResultSchema, upRequestSchema } from './schemas.ts';

const tag = 'generations';
const params = z.strictObject({ name: z.string().min(1).openapi({ description: 'A name or id.' }) });

export function addGenerations(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { service } = dependencies;

  addOperation(app, dependencies, {
    id: 'berthHistory',
    method: 'get',
    path: '/v1/berths/{name}/generations',
    tag,
    summary: 'Lists the environments that a berth had, the newest first, each with what was different.',
    params,
    output: berthHistorySchema,
    work: ({ params: { name } }) => service.history(name),
  });

  addOperation(app, dependencies, {
    id: 'rollback',
    method: 'post',
    path: '/v1/berths/{name}/rollback',
    tag,
    summary: 'Gives a berth an environment that it had, without evaluating. The config stays as it is.',
    params,
    body: z.strictObject({
      to: z.int().positive().optional().openapi({ description: 'A generation; default the one before.' }),
    }),
    output: rollbackResultSchema,
    long: true,
    work: ({ params: { name }, body: { to } }, context) =>
      service.rollback(name, to === undefined ? {} : { to }, context),
  });

  addOperation(app, dependencies, {
    id: 'watch',
    method: 'post',
    path: '/v1/watches',
    tag,
    summary:
      'Makes a berth follow its config until the client goes away. As an event stream, it tells each switch as ' +
      '`berth.switched` and each failure as `failed`.',
    body: upRequestSchema,
    output: z.object({ done: z.literal(true) }),
    long: true,
    work: async ({ body }, context) => {
      await service.watch(body as UpRequest, context);
      return { done: true as const };
    },
  });
}
