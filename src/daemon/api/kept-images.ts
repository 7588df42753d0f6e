/** Images that the registry has: what each takes, pins, and removal. Building one is builds' own. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { Images } from '../../registry/disk/images.ts';
import { addOperation, type OperationHost } from './operation.ts';

const imageSchema = z
  .object({
    digest: z.string(),
    names: z
      .array(z.string())
      .openapi({ description: '`repository:tag`, or `repository@digest` where it has no tag.' }),
    bytes: z.number(),
    sharedBytes: z.number(),
    uniqueBytes: z.number().openapi({ description: 'Of blobs that no other image needs.' }),
    createdAt: z.string(),
    usedAt: z.string(),
    costMs: z.number().nullable().openapi({ description: 'What building it anew would take; null for a pushed one.' }),
    pinned: z.boolean(),
  })
  .openapi('Image');
const usageSchema = z
  .object({
    images: z.array(imageSchema),
    bytes: z.number().openapi({ description: 'Of all blobs and uploads under way.' }),
    looseBytes: z.number().openapi({ description: 'Of blobs that no image needs.' }),
    maxBytes: z.number().nullable(),
  })
  .openapi('Images');

/** An image, as the API tells it. */
export type ImageSummary = z.infer<typeof imageSchema>;
/** All images, and what they take together. */
export type ImagesUsage = z.infer<typeof usageSchema>;

const reference = z.string().min(1).openapi({ description: '`repository:tag`, a digest, or the beginning of one.' });

export function addKeptImages(app: OpenAPIHono, host: OperationHost & { readonly keptImages: Images }): void {
  const { keptImages: images } = host;
  const tag = 'images';

  addOperation<ImagesUsage>(app, host, {
    id: 'listImages',
    method: 'get',
    path: '/v1/images',
    tag,
    summary: 'Lists images with what each takes, and how much of it is its own.',
    output: usageSchema,
    work: () => {
      const { images: list, ...sums } = images.usage();
      return Promise.resolve({ ...sums, images: list.map((image) => ({ ...image, names: [...image.names] })) });
    },
  });
  addOperation(app, host, {
    id: 'pinImage',
    method: 'post',
    path: '/v1/images/pin',
    tag,
    summary: 'Pins an image, which keeps it from eviction, or takes its pin away.',
    body: z.strictObject({ reference, pinned: z.boolean().default(true) }),
    output: z.object({ digest: z.string(), pinned: z.boolean() }),
    work: ({ body }) => Promise.resolve({ digest: images.pin(body.reference, body.pinned), pinned: body.pinned }),
  });
  addOperation(app, host, {
    id: 'removeImage',
    method: 'delete',
    path: '/v1/images',
    tag,
    summary: 'Removes an image under all its names, also a pinned one.',
    query: z.strictObject({ reference }),
    output: z.object({ digest: z.string(), freedBytes: z.number() }),
    work: ({ query }) => images.remove(query.reference),
  });
}
