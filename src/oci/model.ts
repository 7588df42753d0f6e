/**
 * The OCI image model (image specification 1.1): descriptors, manifests, configs and indexes, checked where they come
 * from outside. Unknown members are kept, as the specification asks, so that a document's digest survives.
 */
import { z } from 'zod';
import { canonicalJson, type Digest, digestOf } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { mediaTypes } from './media-types.ts';

/** A digest in sha256; the only algorithm that Berth writes or reads. */
export const digestSchema = z.custom<Digest>(
  (value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value),
  'is no sha256 digest',
);

const annotations = z.record(z.string(), z.string());

const platformSchema = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  variant: z.string().optional(),
});

export const descriptorSchema = z.looseObject({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  annotations: annotations.optional(),
  platform: platformSchema.optional(),
  artifactType: z.string().optional(),
});

export const manifestSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  subject: descriptorSchema.optional(),
  annotations: annotations.optional(),
});

export const indexSchema = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  manifests: z.array(descriptorSchema),
  subject: descriptorSchema.optional(),
  annotations: annotations.optional(),
});

/** Docker writes null for lists that are empty, so that is read as absent. */
const listOrNull = z.array(z.string()).nullish();

export const imageConfigSchema = z.looseObject({
  created: z.string().optional(),
  architecture: z.string(),
  os: z.string(),
  variant: z.string().optional(),
  config: z
    .looseObject({
      User: z.string().optional(),
      ExposedPorts: z.record(z.string(), z.looseObject({})).nullish(),
      Env: listOrNull,
      Entrypoint: listOrNull,
      Cmd: listOrNull,
      Volumes: z.record(z.string(), z.looseObject({})).nullish(),
      WorkingDir: z.string().optional(),
      Labels: annotations.nullish(),
      StopSignal: z.string().optional(),
    })
    .optional(),
  rootfs: z.looseObject({ type: z.literal('layers'), diff_ids: z.array(digestSchema) }),
  history: z
    .array(
      z.looseObject({
        created: z.string().optional(),
        created_by: z.string().optional(),
        comment: z.string().optional(),
        empty_layer: z.boolean().optional(),
      }),
    )
    .nullish(),
});

/** Points at a blob: what it is, its digest and its size in bytes. */
export type Descriptor = z.infer<typeof descriptorSchema>;
export type Manifest = z.infer<typeof manifestSchema>;
export type Index = z.infer<typeof indexSchema>;
export type ImageConfig = z.infer<typeof imageConfigSchema>;
export type Platform = z.infer<typeof platformSchema>;

/** A document as it is stored: its bytes, and what points at them. */
export interface Document {
  readonly bytes: Uint8Array;
  readonly descriptor: Descriptor;
}

/** Writes a document in canonical JSON, so that the same value has the same digest everywhere. */
export function documentOf(mediaType: string, value: unknown): Document {
  const bytes = new TextEncoder().encode(canonicalJson(value));
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}

/**
 * Reads a document of a known kind.
 * @param what names it in errors: `the manifest of example/app:1`
 * @throws BerthError IMAGE_INVALID when it is not JSON or not of that form
 */
export function parseDocument<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BerthError('IMAGE_INVALID', `${capital(what)} is not JSON.`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new BerthError(
    'IMAGE_INVALID',
    `${capital(what)} is not of its form at \`${issue?.path.join('.') ?? ''}\`: ${issue?.message ?? ''}.`,
    { cause: parsed.error },
  );
}

/** @returns the manifest or index that the bytes hold, told apart by their media type or else by their members */
export function parseManifestOrIndex(
  bytes: Uint8Array,
  what: string,
): { readonly manifest: Manifest } | { readonly index: Index } {
  const { mediaType, manifests } = parseDocument(
    z.looseObject({ mediaType: z.string().optional(), manifests: z.unknown().optional() }),
    bytes,
    what,
  );
  const isIndex =
    mediaType === mediaTypes.index ||
    mediaType === mediaTypes.dockerManifestList ||
    (mediaType === undefined && manifests !== undefined);
  return isIndex
    ? { index: parseDocument(indexSchema, bytes, what) }
    : { manifest: parseDocument(manifestSchema, bytes, what) };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
