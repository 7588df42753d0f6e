/**
 * Artifacts that refer to an image (image specification 1.1, `subject`), and how they are found: by the registry's
 * referrers API, or by the tag schema for registries that have none.
 */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import type { Artifact } from '../artifact.ts';
import { mediaTypes } from '../media-types.ts';
import { type Descriptor, documentOf, type Index, indexSchema, parseDocument } from '../model.ts';
import type { RegistryClient, Repository } from './client.ts';
import { uploadBlob } from './upload.ts';

/** How often the list is written again when another writer was faster. */
const maxWrites = 5;

/** @returns the tag of the list of an image's referrers where there is no API: `sha256-HEX` */
export function referrersTag(subject: Digest): string {
  return subject.replace(':', '-');
}

/**
 * Pushes an artifact; under its tag where it has one. A registry that does not list its subject by itself gets the list
 * under a tag.
 */
export async function pushArtifact(
  client: RegistryClient,
  repository: Repository,
  artifact: Artifact,
  signal?: AbortSignal,
): Promise<void> {
  const { registry, repository: name } = repository;
  const { digest } = artifact.manifest.descriptor;
  for (const { bytes, descriptor } of artifact.blobs) {
    const blob = { digest: descriptor.digest, size: descriptor.size, content: bytes };
    await uploadBlob(client, repository, blob, signal ? { signal } : {});
  }
  const place = artifact.tag === undefined ? { digest } : { tag: artifact.tag };
  const { subjectListed } = await client.putManifest(
    { registry, repository: name, ...place },
    artifact.manifest,
    signal,
  );
  if (artifact.subject && !subjectListed)
    await addToList(client, repository, artifact.subject, artifact.listed, signal);
}

/** @returns descriptors of what refers to the image, of one kind where `artifactType` is given */
export async function referrersOf(
  client: RegistryClient,
  repository: Repository,
  subject: Digest,
  artifactType?: string,
  signal?: AbortSignal,
): Promise<Descriptor[]> {
  const found =
    (await client.referrers(repository, subject, signal)) ??
    (await readList(client, repository, subject, signal))?.manifests ??
    [];
  return found.filter((descriptor) => artifactType === undefined || descriptor.artifactType === artifactType);
}

async function readList(
  client: RegistryClient,
  repository: Repository,
  subject: Digest,
  signal?: AbortSignal,
): Promise<Index | undefined> {
  const { registry, repository: name } = repository;
  const reference = { registry, repository: name, tag: referrersTag(subject) };
  if (!(await client.head(reference, signal))) return undefined;
  const { bytes } = await client.manifest(reference, signal);
  return parseDocument(indexSchema, bytes, `the list of referrers of ${name}@${subject}`);
}

/** Reads, adds and writes; then looks whether it is there, since registries have no other way to not lose an entry. */
async function addToList(
  client: RegistryClient,
  repository: Repository,
  subject: Digest,
  entry: Descriptor,
  signal?: AbortSignal,
): Promise<void> {
  const { registry, repository: name } = repository;
  for (let write = 0; ; write += 1) {
    const others = (await readList(client, repository, subject, signal))?.manifests ?? [];
    if (others.some(({ digest }) => digest === entry.digest)) return;
    if (write === maxWrites) {
      throw new BerthError('REGISTRY_REFUSED', `${registry} does not keep the list of what refers to ${subject}.`);
    }
    const list = documentOf(mediaTypes.index, {
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: [...others, entry],
    });
    await client.putManifest({ registry, repository: name, tag: referrersTag(subject) }, list, signal);
  }
}
