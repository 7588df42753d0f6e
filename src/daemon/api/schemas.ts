/** What the API takes and gives, as schemas. The types are environment/service.ts's; the compiler compares the two. */
import { z } from '@hono/zod-openapi';
import { catalogue, type ErrorCode } from '../../core/errors.ts';
import type {
  BerthHistory,
  BerthSummary,
  EnvironmentResult,
  EphemeralBerth,
  LockResult,
  PackagesEdited,
  RollbackResult,
  SwitchReport,
  UpResult,
} from '../../environment/service.ts';
import type { Explanation } from '../../environment/explain.ts';
import type { GenerationDifference } from '../../environment/generation-difference.ts';
import type { Environment } from '../../environment/environment.ts';
import type { PackageMatch } from '../../sources/source.ts';
import type { Digest } from '../../core/digest.ts';
import type { StorePath } from '../../nix/store.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/) as unknown as z.ZodType<Digest, string>;
const storePath = z.string().startsWith('/nix/store/') as unknown as z.ZodType<StorePath, string>;

/** May be absent, but not undefined, as the types say; the generator of the document knows plain `optional` only. */
function exactOptional<Schema extends z.ZodType>(schema: Schema): z.ZodExactOptional<Schema> {
  return schema.optional() as unknown as z.ZodExactOptional<Schema>;
}

const absolutePath = z
  .string()
  .startsWith('/', 'must be an absolute path')
  .openapi({ example: '/home/ada/project', description: 'A config file or a folder that holds one; absolute.' });

const port = z.int().min(1).max(65535);
export const publishedPortSchema = z.strictObject({ host: port, container: port });

const limitsSchema = z.strictObject({
  memoryBytes: z.int().positive().nullable().optional(),
  cpus: z.number().positive().nullable().optional(),
  pids: z.int().positive().nullable().optional(),
});

export const environmentRequestSchema = z
  .strictObject({
    path: absolutePath,
    withNix: z.boolean().optional().openapi({ description: 'Adds Nix itself to the environment.' }),
    passEnv: z
      .record(z.string(), z.string())
      .optional()
      .openapi({ description: "Variables that the config's evaluation may read." }),
    retry: z
      .boolean()
      .optional()
      .openapi({ description: 'Tries even what has failed several times in a row just now.' }),
  })
  .openapi('EnvironmentRequest');

export const upRequestSchema = environmentRequestSchema
  .extend({
    name: z.string().optional(),
    mode: z.enum(['shell', 'image', 'registry', 'auto']).optional(),
    engine: z.enum(['embedded', 'docker', 'kubernetes', 'auto']).optional(),
    limits: limitsSchema.optional(),
    network: z.enum(['none', 'host', 'bridge']).optional(),
    isolation: z.enum(['whole', 'closure']).optional(),
    ports: z.array(publishedPortSchema).optional(),
  })
  .openapi('UpRequest');

const stage = z.enum(['hit', 'miss']);
const stageOrNone = z.enum(['hit', 'miss', 'none']);
export const cacheSchema = z.object({ environment: stage, build: stageOrNone, image: stageOrNone });
const timingsSchema = z.object({
  read: z.number(),
  evaluate: z.number(),
  build: z.number(),
  libraries: z.number(),
  materialise: z.number(),
  start: z.number(),
  total: z.number(),
});
const engineName = z.enum(['embedded', 'docker']);

const differenceSchema = z
  .object({
    added: z.array(z.object({ name: z.string(), version: z.string() })),
    removed: z.array(z.object({ name: z.string(), version: z.string() })),
    updated: z.array(z.object({ name: z.string(), from: z.string(), to: z.string() })),
    variables: z.int().nullable(),
  })
  .openapi('GenerationDifference') satisfies z.ZodType<GenerationDifference>;

const switchReportSchema = z
  .object({
    name: z.string(),
    id: z.string(),
    from: z.int(),
    to: z.int(),
    difference: differenceSchema.nullable(),
    replaced: z.boolean(),
  })
  .openapi('SwitchReport') satisfies z.ZodType<SwitchReport>;

export const berthHistorySchema = z
  .object({
    name: z.string(),
    id: z.string(),
    current: z.int(),
    config: z.enum(['same', 'differs', 'unknown']),
    generations: z.array(
      z.object({
        number: z.int(),
        current: z.boolean(),
        at: z.string(),
        origin: z.enum(['up', 'add', 'remove', 'watch', 'rollback', 'inside']),
        of: z.int().nullable(),
        environmentDigest: digest,
        configDigest: digest,
        packages: z.array(z.object({ name: z.string(), version: z.string(), source: z.string() })),
        difference: differenceSchema.nullable(),
      }),
    ),
  })
  .openapi('BerthHistory') satisfies z.ZodType<BerthHistory>;

export const rollbackResultSchema = switchReportSchema
  .extend({ of: z.int(), environmentDigest: digest, ms: z.number() })
  .openapi('RollbackResult') satisfies z.ZodType<RollbackResult>;

export const upResultSchema = z
  .object({
    name: z.string(),
    id: z.string(),
    state: z.literal('ready'),
    mode: z.enum(['shell', 'image']),
    modeReason: z.string().openapi({ description: 'Why it has that mode.' }),
    engine: engineName,
    configDigest: digest,
    environmentDigest: digest,
    imageDigest: digest.nullable(),
    cache: cacheSchema,
    closure: z.object({ paths: z.int(), bytes: z.int() }),
    libraries: z.array(
      z.object({
        manager: z.string(),
        cache: z.enum(['hit', 'miss']),
        packages: z.int(),
        storePath: z.string(),
        folders: z.array(z.string()),
        keepHint: z.string().openapi({ description: 'How to keep what is installed by hand.' }),
      }),
    ),
    generation: z.int(),
    switched: switchReportSchema.nullable(),
    timingsMs: timingsSchema,
  })
  .openapi('UpResult') satisfies z.ZodType<UpResult>;

const environmentSchema = z
  .object({
    digest,
    storePath,
    fhs: storePath.nullable(),
    variables: z.record(z.string(), z.string()),
    shellHook: z.string(),
    functions: z.string(),
    command: z.array(z.string()).nullable(),
    ports: z.array(z.int()),
    closure: z.object({ paths: z.array(storePath), bytes: z.int() }),
  })
  .openapi('Environment') satisfies z.ZodType<Environment>;

export const environmentResultSchema = z
  .object({ environment: environmentSchema, configDigest: digest, cache: cacheSchema, timingsMs: timingsSchema })
  .openapi('EnvironmentResult') satisfies z.ZodType<EnvironmentResult>;

export const ephemeralBerthSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    agentSocket: z.string(),
    cache: cacheSchema,
    timingsMs: timingsSchema,
  })
  .openapi('EphemeralBerth') satisfies z.ZodType<EphemeralBerth>;

export const berthSummarySchema = z
  .object({
    id: z.string(),
    name: z.string(),
    state: z.enum(['created', 'running', 'stopped', 'gone']),
    exitCode: z.int().nullable(),
    engine: engineName,
    mode: z.enum(['shell', 'image']),
    directory: z.string(),
    environmentDigest: digest,
    createdAt: z.string(),
    ports: z.array(publishedPortSchema),
    agentSocket: z.string(),
  })
  .openapi('Berth') satisfies z.ZodType<BerthSummary>;

export const explanationSchema = z
  .object({
    configFile: z.string(),
    configDigest: digest,
    environmentDigest: digest.nullable(),
    stages: z.array(
      z.object({
        stage: z.enum(['trace', 'derivation', 'closure', 'image']),
        verdict: z.enum(['hit', 'miss', 'unknown']),
        reason: z.string(),
        changed: exactOptional(z.object({ kind: z.string(), name: z.string() })),
      }),
    ),
  })
  .openapi('Explanation') satisfies z.ZodType<Explanation>;

export const lockResultSchema = z
  .object({
    lockFile: z.string(),
    sources: z.array(z.object({ name: z.string(), label: z.string(), changed: z.boolean() })),
  })
  .openapi('LockResult') satisfies z.ZodType<LockResult>;

export const packageMatchSchema = z
  .object({ name: z.string(), version: z.string(), description: z.string(), source: z.string() })
  .openapi('PackageMatch') satisfies z.ZodType<PackageMatch>;

export const packagesEditedSchema = z
  .object({ file: z.string(), names: z.array(z.string()), switched: z.array(switchReportSchema) })
  .openapi('PackagesEdited') satisfies z.ZodType<PackagesEdited>;

export const packagesRequestSchema = z
  .strictObject({
    path: absolutePath,
    names: z.array(z.string().min(1)).min(1),
    noSwitch: z.boolean().optional().openapi({ description: "Leaves the config's running berths as they are." }),
  })
  .openapi('PackagesRequest');

export const errorResponseSchema = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(catalogue) as ErrorCode[]),
      fault: z.enum(['user', 'system', 'upstream']),
      message: z.string(),
      hint: z.string(),
      retryable: z.boolean(),
      location: z.object({ file: z.string(), line: z.int(), column: z.int().optional() }).optional(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  })
  .openapi('ErrorResponse');

export const daemonInfoSchema = z
  .object({
    version: z.string(),
    build: z.string(),
    pid: z.int(),
    home: z.string(),
    startedAt: z.string(),
    managed: z.boolean().openapi({ description: 'Whether a command started it, so that it leaves when idle.' }),
    inFlight: z.int(),
  })
  .openapi('Daemon');
