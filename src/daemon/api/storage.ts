/** The store: seeds, garbage collection and disk usage. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type {
  DiskUsage,
  GarbageReport,
  SeedMoveRequest,
  SeedsAdded,
  SeedsMoved,
  SeedSuggestion,
  SeedSummary,
  StorageService,
} from '../../environment/storage.ts';
import { addOperation, type OperationHost } from './operation.ts';
import { errorResponseSchema } from './schemas.ts';

const seedSchema: z.ZodType<SeedSummary> = z
  .object({
    name: z.string().openapi({ description: "The package's name, or the config's path." }),
    kind: z.enum(['package', 'config']),
    packages: z.array(z.object({ name: z.string(), version: z.string() })),
    sources: z.array(z.string()),
    closure: z.object({ paths: z.number(), bytes: z.number() }),
    createdAt: z.string(),
    usedAt: z.string().nullable(),
  })
  .openapi('Seed');

const addedSchema = z.object({
  seeds: z.array(seedSchema),
  failed: z.array(z.object({ name: z.string(), error: errorResponseSchema.shape.error })),
}) as unknown as z.ZodType<SeedsAdded>;

const movedSchema: z.ZodType<SeedsMoved> = z
  .object({
    names: z.array(z.string()),
    closure: z.object({ paths: z.number(), bytes: z.number() }),
    bytes: z.number().nullable().openapi({ description: "The archive's size, where there is one." }),
    place: z.string(),
  })
  .openapi('SeedsMoved');

const suggestionSchema: z.ZodType<SeedSuggestion> = z
  .object({
    name: z.string(),
    version: z.string(),
    source: z.string(),
    projects: z.number(),
    environments: z.number(),
    bytes: z.number(),
    usedAt: z.string(),
    seeded: z.boolean(),
  })
  .openapi('SeedSuggestion');

const garbageSchema: z.ZodType<GarbageReport> = z
  .object({
    dryRun: z.boolean(),
    keepDays: z.number(),
    environments: z.array(z.string()),
    sources: z.array(z.string()),
    traces: z.number(),
    files: z.object({ count: z.number(), bytes: z.number() }),
    store: z.object({ paths: z.number(), bytes: z.number() }),
  })
  .openapi('GarbageReport');

const usageSchema = z.object({
  name: z.string(),
  paths: z.number(),
  bytes: z.number(),
  sharedBytes: z.number(),
  uniqueBytes: z.number(),
});
const diskUsageSchema: z.ZodType<DiskUsage> = z
  .object({
    store: z.object({ paths: z.number(), bytes: z.number(), neededBytes: z.number() }),
    environments: z.array(usageSchema.extend({ digest: z.string(), berths: z.array(z.string()), usedAt: z.string() })),
    seeds: z.array(usageSchema),
    sources: z.array(usageSchema),
  })
  .openapi('DiskUsage');

const absolute = z.string().startsWith('/', 'must be an absolute path');
const names = z.array(z.string().min(1)).optional().openapi({ description: 'Default: all seeds.' });
const keyFile = absolute.optional().openapi({ description: 'A secret key that signs what is written.' });
const trust = z.boolean().optional().openapi({ description: 'Take paths that no trusted key has signed.' });
const place = z.string().min(1).openapi({ description: "An absolute folder, or a binary cache's URL." });

/** Only what was given: the port's types tell absent from undefined. */
function moveRequest(body: { names?: string[] | undefined; keyFile?: string | undefined }): SeedMoveRequest {
  return { ...(body.names ? { names: body.names } : {}), ...(body.keyFile ? { keyFile: body.keyFile } : {}) };
}

export function addStorage(app: OpenAPIHono, host: OperationHost & { readonly storage: StorageService }): void {
  const { storage } = host;
  const tag = 'storage';

  addOperation(app, host, {
    id: 'listSeeds',
    method: 'get',
    path: '/v1/seeds',
    tag,
    summary: 'Lists seeds: what they are, how large, and when they were last used.',
    output: z.object({ seeds: z.array(seedSchema) }),
    work: async () => ({ seeds: await storage.listSeeds() }),
  });
  addOperation(app, host, {
    id: 'addSeeds',
    method: 'post',
    path: '/v1/seeds',
    tag,
    summary: 'Brings packages and configs into the store ahead of need.',
    body: z.strictObject({
      names: z.array(z.string().min(1)).default([]),
      configs: z.array(absolute).default([]),
      update: z.boolean().default(false),
    }),
    output: addedSchema,
    long: true,
    work: ({ body }, context) => storage.addSeeds(body, context),
  });
  addOperation(app, host, {
    id: 'removeSeeds',
    method: 'post',
    path: '/v1/seeds/remove',
    tag,
    summary: 'Lets seeds go; the next garbage collection frees what nothing else needs.',
    body: z.strictObject({ names: z.array(z.string().min(1)).min(1) }),
    output: z.object({ names: z.array(z.string()) }),
    work: async ({ body }) => {
      await storage.removeSeeds(body.names);
      return { names: body.names };
    },
  });
  addOperation(app, host, {
    id: 'exportSeeds',
    method: 'post',
    path: '/v1/seeds/export',
    tag,
    summary: "Writes seeds as one archive on the daemon's machine.",
    body: z.strictObject({ file: absolute, names, keyFile }),
    output: movedSchema,
    long: true,
    work: ({ body }, context) => storage.exportSeeds(body.file, moveRequest(body), context),
  });
  addOperation(app, host, {
    id: 'importSeeds',
    method: 'post',
    path: '/v1/seeds/import',
    tag,
    summary: 'Takes the seeds of an archive.',
    body: z.strictObject({ file: absolute, trust }),
    output: movedSchema,
    long: true,
    work: ({ body }, context) => storage.importSeeds(body.file, { trust: body.trust ?? false }, context),
  });
  addOperation(app, host, {
    id: 'pushSeeds',
    method: 'post',
    path: '/v1/seeds/push',
    tag,
    summary: 'Copies seeds to a binary cache.',
    body: z.strictObject({ place, names, keyFile }),
    output: movedSchema,
    long: true,
    work: ({ body }, context) => storage.pushSeeds(body.place, moveRequest(body), context),
  });
  addOperation(app, host, {
    id: 'pullSeeds',
    method: 'post',
    path: '/v1/seeds/pull',
    tag,
    summary: 'Takes the seeds of a binary cache.',
    body: z.strictObject({ place, trust }),
    output: movedSchema,
    long: true,
    work: ({ body }, context) => storage.pullSeeds(body.place, { trust: body.trust ?? false }, context),
  });
  addOperation(app, host, {
    id: 'suggestSeeds',
    method: 'get',
    path: '/v1/seeds/suggestions',
    tag,
    summary: 'Ranks packages by what having them as seeds would spare.',
    query: z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(20) }),
    output: z.object({ suggestions: z.array(suggestionSchema) }),
    work: async ({ query }) => ({ suggestions: await storage.suggestSeeds(query.limit) }),
  });
  addOperation(app, host, {
    id: 'collectGarbage',
    method: 'post',
    path: '/v1/garbage-collections',
    tag,
    summary: 'Drops what nothing needs.',
    body: z.strictObject({ dryRun: z.boolean().default(false) }),
    output: garbageSchema,
    long: true,
    work: ({ body }, context) => storage.collectGarbage(body, context),
  });
  addOperation(app, host, {
    id: 'diskUsage',
    method: 'get',
    path: '/v1/disk-usage',
    tag,
    summary: 'Tells what each environment, seed and source takes of the store, and how much of it is its own.',
    output: diskUsageSchema,
    work: () => storage.diskUsage(),
  });
}
