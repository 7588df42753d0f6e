/** Where attestations are kept: beside the image in a registry, or in the OCI layout that holds it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, type Digest, digestOf } from '../../core/digest.ts';
import { writeFileAtomically } from '../../core/files.ts';
import type { Artifact } from '../artifact.ts';
import { blobPath, diskBlobs } from '../blobs/disk-blobs.ts';
import { mediaTypes } from '../media-types.ts';
import { type Descriptor, type Document, indexSchema, manifestSchema, parseDocument } from '../model.ts';
import { otherDigest, type RegistryClient, type Repository } from '../remote/client.ts';
import { readBlob } from '../remote/read-blob.ts';
import { pushArtifact, referrersOf } from '../remote/referrers.ts';

export interface AttachmentTarget {
  /** The image's name without a tag, which a signature tells: `HOST/REPOSITORY`. */
  readonly name: string;
  put(artifact: Artifact, signal?: AbortSignal): Promise<void>;
  /** @returns the manifest under the tag, or undefined */
  tagged(tag: string, signal?: AbortSignal): Promise<Document | undefined>;
  manifest(digest: Digest, signal?: AbortSignal): Promise<Document>;
  /** @returns a document's bytes, which are those of its digest */
  read(descriptor: Descriptor, signal?: AbortSignal): Promise<Uint8Array>;
  referrers(subject: Digest, artifactType?: string, signal?: AbortSignal): Promise<Descriptor[]>;
}

export function registryTarget(client: RegistryClient, repository: Repository): AttachmentTarget {
  const { registry, repository: path } = repository;
  return {
    name: `${registry === 'docker.io' ? 'index.docker.io' : registry}/${path}`,
    put: (artifact, signal) => pushArtifact(client, repository, artifact, signal),
    async tagged(tag, signal) {
      const reference = { registry, repository: path, tag };
      return (await client.head(reference, signal)) && client.manifest(reference, signal);
    },
    manifest: (digest, signal) => client.manifest({ registry, repository: path, digest }, signal),
    async read(descriptor, signal) {
      const pieces: Uint8Array[] = [];
      for await (const piece of readBlob(client, repository, descriptor, signal)) pieces.push(piece);
      return Buffer.concat(pieces);
    },
    referrers: (subject, artifactType, signal) => referrersOf(client, repository, subject, artifactType, signal),
  };
}

const refName = 'org.opencontainers.image.ref.name';
/** By which cosign finds things in a layout (`cosign save`, `verify --local-image`). */
const cosignKinds = { '.sig': 'dev.cosignproject.cosign/sigs', '.att': 'dev.cosignproject.cosign/atts' } as const;
const cosignImage = 'dev.cosignproject.cosign/image';

/** @param folder an OCI layout that is there, with the image in it */
export function layoutTarget(folder: string, name: string): AttachmentTarget {
  const blobs = diskBlobs(folder);
  const indexFile = join(folder, 'index.json');
  const readIndex = async () => parseDocument(indexSchema, await readFile(indexFile), `the index of ${folder}`);
  const readDescribed = async (descriptor: Descriptor): Promise<Document> => {
    const bytes = await readFile(join(folder, blobPath(descriptor.digest)));
    return { bytes, descriptor };
  };
  return {
    name,
    async put(artifact) {
      for (const { bytes, descriptor } of [...artifact.blobs, artifact.manifest]) {
        if ((await blobs.size(descriptor.digest)) === descriptor.size) continue;
        const draft = await blobs.draft();
        try {
          await draft.write(bytes);
          await draft.commit(descriptor.digest);
        } finally {
          await draft.discard();
        }
      }
      const index = await readIndex();
      const { tag } = artifact;
      const kind = tag === undefined ? undefined : Object.entries(cosignKinds).find(([end]) => tag.endsWith(end))?.[1];
      const others = index.manifests
        .filter((entry) => entry.digest !== artifact.manifest.descriptor.digest)
        .filter((entry) => tag === undefined || entry.annotations?.[refName] !== tag)
        .map((entry) =>
          kind && entry.digest === artifact.subject
            ? { ...entry, annotations: { ...entry.annotations, kind: kindOfImage(entry) } }
            : entry,
        );
      const annotations = {
        ...artifact.listed.annotations,
        ...(tag === undefined ? {} : { [refName]: tag }),
        ...(kind === undefined ? {} : { kind }),
      };
      const entry = { ...artifact.listed, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) };
      await writeFileAtomically(indexFile, canonicalJson({ ...index, manifests: [...others, entry] }));
    },
    async tagged(tag) {
      const found = (await readIndex()).manifests.find((entry) => entry.annotations?.[refName] === tag);
      return found && readDescribed(found);
    },
    async manifest(digest) {
      const bytes = await readFile(join(folder, blobPath(digest)));
      return { bytes, descriptor: { mediaType: mediaTypes.manifest, digest, size: bytes.length } };
    },
    async read(descriptor) {
      const { bytes } = await readDescribed(descriptor);
      const digest = digestOf(bytes);
      if (digest !== descriptor.digest) throw otherDigest(`a document in ${folder}`, descriptor.digest, digest);
      return bytes;
    },
    async referrers(subject, artifactType) {
      const found: Descriptor[] = [];
      for (const entry of (await readIndex()).manifests) {
        if (entry.artifactType === undefined) continue;
        if (artifactType !== undefined && entry.artifactType !== artifactType) continue;
        const { bytes } = await readDescribed(entry);
        if (parseDocument(manifestSchema, bytes, 'an artifact').subject?.digest === subject) found.push(entry);
      }
      return found;
    },
  };
}

function kindOfImage(entry: Descriptor): string {
  return entry.mediaType === mediaTypes.index ? `${cosignImage}Index` : cosignImage;
}
