/** Attaches what is said of an image, as artifacts that refer to it: its SBOM, its provenance. */
import { canonicalJson, digestOf } from '../../core/digest.ts';
import { type Artifact, artifactOf, documentOfBytes } from '../artifact.ts';
import type { Descriptor } from '../model.ts';
import type { AttachmentTarget } from './attachment-target.ts';
import { type Predicate, predicateTypes, statementOf, statementPayloadType } from './statement.ts';

export const sbomMediaType = 'application/vnd.cyclonedx+json';

/**
 * Puts each predicate beside the image, unsigned: an SBOM as the document itself, which tools look for by its media type;
 * all else as an in-toto statement.
 * @returns the artifacts' digests, in the predicates' order
 */
export async function attach(
  target: AttachmentTarget,
  subject: Descriptor,
  predicates: readonly Predicate[],
  signal?: AbortSignal,
): Promise<Artifact[]> {
  const artifacts = predicates.map((predicate) => attachmentOf(target.name, subject, predicate));
  for (const artifact of artifacts) await target.put(artifact, signal);
  return artifacts;
}

/** @returns the artifact of one predicate; the same predicate of the same image gives the same digest */
export function attachmentOf(name: string, subject: Descriptor, predicate: Predicate): Artifact {
  const isSbom = predicate.type === predicateTypes.cycloneDx;
  const bytes = isSbom
    ? Buffer.from(canonicalJson(predicate.content))
    : statementOf({ name, digest: subject.digest }, predicate);
  const mediaType = isSbom ? sbomMediaType : statementPayloadType;
  const annotations = isSbom ? undefined : { 'in-toto.io/predicate-type': predicate.type };
  return artifactOf({
    artifactType: mediaType,
    subject,
    documents: [documentOfBytes(mediaType, bytes, digestOf(bytes), annotations)],
    ...(annotations ? { annotations } : {}),
  });
}
