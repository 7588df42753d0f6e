/** Packages: finding them, and writing them into a config. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { packageMatchSchema, packagesEditedSchema, packagesRequestSchema } from './schemas.ts';

const tag = 'packages';

export function addPackages(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { service } = dependencies;

  addOperation(app, dependencies, {
    id: 'searchPackages',
    method: 'get',
    path: '/v1/packages/search',
    tag,
    summary: 'Finds packages by name, `NAME@VERSION` or description, best first.',
    query: z.strictObject({
      query: z.string().min(1),
      path: z
        .string()
        .startsWith('/')
        .optional()
        .openapi({ description: 'A config whose locked sources are searched.' }),
      limit: z.coerce.number().int().min(1).max(200).default(20),
    }),
    output: z.object({ packages: z.array(packageMatchSchema) }),
    long: true,
    work: async ({ query: { path, query, limit } }, context) => ({
      packages: await service.search(path, query, limit, context),
    }),
  });

  addOperation(app, dependencies, {
    id: 'addPackages',
    method: 'post',
    path: '/v1/packages/add',
    tag,
    summary: 'Writes packages into a config, and gives them to its running berths.',
    body: packagesRequestSchema,
    output: packagesEditedSchema,
    long: true,
    work: ({ body: { path, names, noSwitch } }, context) =>
      service.addPackages(path, names, context, noSwitch === undefined ? {} : { noSwitch }),
  });

  addOperation(app, dependencies, {
    id: 'removePackages',
    method: 'post',
    path: '/v1/packages/remove',
    tag,
    summary: 'Takes packages out of a config, and from its running berths.',
    body: packagesRequestSchema,
    output: packagesEditedSchema,
    long: true,
    work: ({ body: { path, names, noSwitch } }, context) =>
      service.removePackages(path, names, context, noSwitch === undefined ? {} : { noSwitch }),
  });
}
