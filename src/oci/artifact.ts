/** Artifacts beside images: documents under a manifest that may say which image they are about (image specification 1.1). */
import type { Digest } from '../core/digest.ts';
import { mediaTypes } from './media-types.ts';
import { type Descriptor, type Document, documentOf } from './model.ts';

export interface Artifact {
  readonly manifest: Document;
  /** What the manifest points at: its config and its documents. */
  readonly blobs: readonly Document[];
  /** The image that it is about. */
  readonly subject?: Digest;
  /** What a list of referrers says of it. */
  readonly listed: Descriptor;
  /** A tag by which it is found besides. */
  readonly tag?: string;
}

export interface ArtifactContent {
  readonly artifactType: string;
  readonly subject?: Descriptor;
  readonly documents: readonly Document[];
  /** Documents that are where the artifact goes; they come first. */
  readonly kept?: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default: the empty config, `{}`. */
  readonly config?: Document;
  readonly tag?: string;
}

const emptyConfig = documentOf(mediaTypes.empty, {});

/** @returns the artifact; the same content gives the same digest */
export function artifactOf(content: ArtifactContent): Artifact {
  const { annotations, artifactType, config = emptyConfig, documents, kept = [], subject } = content;
  const manifest = documentOf(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: config.descriptor,
    layers: [...kept, ...documents.map(({ descriptor }) => descriptor)],
    // Only what identifies it: a platform or a name is not a part of what the subject is.
    ...(subject ? { subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size } } : {}),
    ...(annotations ? { annotations } : {}),
  });
  return {
    manifest,
    blobs: [...new Map([config, ...documents].map((blob) => [blob.descriptor.digest, blob])).values()],
    ...(subject ? { subject: subject.digest } : {}),
    listed: { ...manifest.descriptor, artifactType, ...(annotations ? { annotations: { ...annotations } } : {}) },
    ...(content.tag === undefined ? {} : { tag: content.tag }),
  };
}

/** @returns a document of bytes as they are, with annotations on what points at it */
export function documentOfBytes(
  mediaType: string,
  bytes: Uint8Array,
  digest: Digest,
  annotations?: Readonly<Record<string, string>>,
): Document {
  const descriptor = { mediaType, digest, size: bytes.length };
  return { bytes, descriptor: annotations ? { ...descriptor, annotations: { ...annotations } } : descriptor };
}
