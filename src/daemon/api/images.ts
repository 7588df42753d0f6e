/** Images of environments. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { BuildImageRequest, BuildImageResult } from '../../environment/images.ts';
import type { ApiDependencies } from './api.ts';
import { addOperation } from './operation.ts';
import { cacheSchema, environmentRequestSchema } from './schemas.ts';

const digest = z
  .custom<BuildImageResult['imageDigest']>((value) => typeof value === 'string')
  .openapi({ type: 'string' });
const closure = z.object({ paths: z.int(), bytes: z.number() });
const compression = z.enum(['none', 'gzip', 'zstd']);

const buildRequestSchema = environmentRequestSchema
  .extend({
    to: z.array(z.string().min(1)).optional().openapi({
      description:
        '`docker`, `embedded`, `oci-archive:FILE`, `docker-archive:FILE`, `oci:FOLDER`, `registry:REFERENCE`; paths absolute.',
    }),
    platforms: z.array(z.string()).optional().openapi({ description: '`linux/amd64`, `linux/arm64`.' }),
    compression: compression.optional(),
    tag: z.string().min(1).max(256).optional(),
    sbom: z
      .boolean()
      .optional()
      .openapi({ description: 'An SBOM beside the image, in registries and `oci:` folders.' }),
    provenance: z.boolean().optional().openapi({ description: 'The same for SLSA provenance.' }),
    sign: z.string().startsWith('/').optional().openapi({ description: "A private key's file, absolute." }),
  })
  .openapi('BuildImageRequest');

const buildResultSchema = z
  .object({
    imageDigest: digest,
    configDigest: digest,
    environmentDigest: digest,
    closure,
    cache: cacheSchema,
    compression,
    platforms: z.array(
      z.object({
        platform: z.string(),
        imageDigest: digest,
        environmentDigest: digest,
        closure,
        cache: cacheSchema,
        layers: z.int(),
        bytes: z.number(),
      }),
    ),
    written: z.array(
      z.object({
        target: z.string(),
        reference: z.string().nullable(),
        movedBytes: z.number(),
        movedLayers: z.int(),
        keptLayers: z.int(),
        how: z.string(),
        attached: z.array(z.enum(['sbom', 'provenance', 'signature'])).optional(),
      }),
    ),
    timingsMs: z.object({
      read: z.number(),
      evaluate: z.number(),
      build: z.number(),
      materialise: z.number(),
      ship: z.number(),
      total: z.number(),
    }),
  })
  .openapi('BuildImageResult') as unknown as z.ZodType<BuildImageResult>;

export function addImages(app: OpenAPIHono, dependencies: ApiDependencies): void {
  addOperation(app, dependencies, {
    id: 'buildImage',
    method: 'post',
    path: '/v1/images',
    tag: 'images',
    summary: "Makes an image of a config's environment and brings it where it is wanted.",
    body: buildRequestSchema,
    output: buildResultSchema,
    long: true,
    work: ({ body }, context) => dependencies.images.build(body as BuildImageRequest, context),
  });
}
