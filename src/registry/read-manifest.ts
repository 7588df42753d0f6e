/** Checks a manifest or index that was pushed, and reads from it what the registry must know. Bytes are never changed. */
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import { type BlobDigest, blobDigestSchema } from '../oci/blobs/blob-store.ts';
import { mediaTypes } from '../oci/media-types.ts';
import { parseDocument } from '../oci/model.ts';
import type { NewManifest } from './manifest-store.ts';
import { Refusal } from './refusal.ts';

const descriptor = z.looseObject({
  mediaType: z.string().min(1),
  digest: blobDigestSchema,
  size: z.int().nonnegative(),
  urls: z.array(z.string()).nullish(),
});
const common = {
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  subject: descriptor.optional(),
  annotations: z.record(z.string(), z.string()).nullish(),
};
const imageSchema = z.looseObject({ ...common, config: descriptor, layers: z.array(descriptor).nullish() });
const indexSchema = z.looseObject({ ...common, manifests: z.array(descriptor).nullish() });

const imageTypes: readonly string[] = [mediaTypes.manifest, mediaTypes.dockerManifest];
const indexTypes: readonly string[] = [mediaTypes.index, mediaTypes.dockerManifestList];
/** Layers that a registry need not have: they are to be fetched from their `urls`. */
const foreign = /nondistributable|\.foreign\./;

export interface ReadManifest extends Omit<NewManifest, 'blobs'> {
  readonly blobs: readonly { readonly digest: BlobDigest; readonly size: number; readonly required: boolean }[];
}

/** Docker clients send them; the size is what the distribution specification says a registry should take at least. */
export const maxManifestBytes = 4 * 1024 * 1024;

/**
 * @param contentType as the client sent it
 * @throws Refusal MANIFEST_INVALID
 */
export function readManifest(bytes: Uint8Array, digest: BlobDigest, contentType: string | null): ReadManifest {
  const declared = z.looseObject({ mediaType: z.string().optional(), manifests: z.unknown().optional() });
  const { mediaType: own, manifests } = parse(declared, bytes);
  const sent = contentType?.split(';')[0]?.trim();
  if (sent && own && sent !== own) {
    throw new Refusal('MANIFEST_INVALID', `The manifest says that it is ${own}, and the request that it is ${sent}.`);
  }
  const mediaType = own ?? (sent || (manifests === undefined ? mediaTypes.manifest : mediaTypes.index));
  if (imageTypes.includes(mediaType)) return readImage(bytes, digest, mediaType);
  if (indexTypes.includes(mediaType)) return readIndex(bytes, digest, mediaType);
  throw new Refusal('MANIFEST_INVALID', `Manifests of the type ${mediaType} are not taken here.`);
}

function readImage(bytes: Uint8Array, digest: BlobDigest, mediaType: string): ReadManifest {
  const { config, layers, ...rest } = parse(imageSchema, bytes);
  const blobs = [config, ...(layers ?? [])].map((it) => ({
    digest: it.digest,
    size: it.size,
    required: !foreign.test(it.mediaType) && (it.urls ?? []).length === 0,
  }));
  // The specification: an artifact's type is that of its config where it names none.
  const artifactType = rest.artifactType || config.mediaType;
  return { ...described(rest), digest, mediaType, bytes, blobs, children: [], artifactType };
}

function readIndex(bytes: Uint8Array, digest: BlobDigest, mediaType: string): ReadManifest {
  const { manifests, ...rest } = parse(indexSchema, bytes);
  return {
    ...described(rest),
    ...(rest.artifactType ? { artifactType: rest.artifactType } : {}),
    ...{ digest, mediaType, bytes, blobs: [] },
    children: (manifests ?? []).map((it) => it.digest),
  };
}

function described({ subject, annotations }: Pick<z.infer<typeof imageSchema>, 'subject' | 'annotations'>) {
  return { ...(subject ? { subject: subject.digest } : {}), ...(annotations ? { annotations } : {}) };
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return parseDocument(schema, bytes, 'the manifest');
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    throw new Refusal('MANIFEST_INVALID', error.message, { cause: error });
  }
}
