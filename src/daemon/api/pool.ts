/** The pools of the engines. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { PoolStatus } from '../../engine/engine.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';

const poolSchema: z.ZodType<PoolStatus> = z
  .object({
    engine: z.enum(['embedded', 'docker']),
    available: z.boolean().openapi({ description: 'False: berths are created and started; `reason` says why.' }),
    reason: z.string(),
    ids: z.array(z.string()).openapi({ description: "Of all containers that are the pool's." }),
    waiting: z.int(),
    target: z.int().openapi({ description: 'How many should wait.' }),
    starting: z.int(),
    hits: z.int().openapi({ description: 'Launches that found one waiting, since the daemon started.' }),
    misses: z.int(),
    memoryBytes: z.int().nullable().openapi({ description: 'What the waiting ones take together.' }),
    classes: z.array(
      z.object({
        network: z.enum(['none', 'host', 'bridge']),
        isolation: z.enum(['whole', 'closure']),
        waiting: z.int(),
        target: z.int(),
      }),
    ),
  })
  .openapi('Pool');

export function addPool(app: OpenAPIHono, dependencies: ApiDependencies): void {
  addOperation(app, dependencies, {
    id: 'getPool',
    method: 'get',
    path: '/v1/pool',
    tag: 'daemon',
    summary: 'Tells how many started containers wait for an environment, and what they take.',
    output: z.object({ pools: z.array(poolSchema) }),
    work: async () => ({ pools: await dependencies.service.pool() }),
  });
}
