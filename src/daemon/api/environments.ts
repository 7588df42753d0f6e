/** Environments, why they hit or miss, and locks. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { EnvironmentRequest } from '../../environment/service.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { environmentRequestSchema, environmentResultSchema, explanationSchema, lockResultSchema } from './schemas.ts';

export function addEnvironments(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { service } = dependencies;

  addOperation(app, dependencies, {
    id: 'makeEnvironment',
    method: 'post',
    path: '/v1/environments',
    tag: 'environments',
    summary: "Makes a config's environment ready, without a berth.",
    body: environmentRequestSchema,
    output: environmentResultSchema,
    long: true,
    work: ({ body }, context) => service.environment(body as EnvironmentRequest, context),
  });

  addOperation(app, dependencies, {
    id: 'explain',
    method: 'post',
    path: '/v1/explain',
    tag: 'environments',
    summary: 'Tells why each stage would hit or miss now, and what changed. Evaluates nothing.',
    body: environmentRequestSchema,
    output: explanationSchema,
    long: true,
    work: ({ body }, context) => service.explain(body as EnvironmentRequest, context),
  });

  addOperation(app, dependencies, {
    id: 'lock',
    method: 'post',
    path: '/v1/locks',
    tag: 'environments',
    summary: "Locks a config's sources to a revision.",
    body: z.strictObject({
      path: environmentRequestSchema.shape.path,
      update: z
        .array(z.string())
        .optional()
        .openapi({ description: 'Sources or packages to ask upstream for again; an empty list means all.' }),
    }),
    output: lockResultSchema,
    long: true,
    work: ({ body: { path, update } }, context) => service.lock(path, update ? { update } : {}, context),
  });
}
