/**
 * Signatures and signed attestations as cosign keeps them (sigstore/cosign, specs/SIGNATURE_SPEC.md and
 * ATTESTATION_SPEC.md): one manifest under a tag made from the image's digest, a layer for each signature. The manifest
 * names the image as its subject too, so that it is found by the referrers API as well.
 */
import { type Digest, digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { artifactOf, documentOfBytes } from '../artifact.ts';
import { mediaTypes } from '../media-types.ts';
import { type Descriptor, type Document, documentOf, type Manifest, manifestSchema, parseDocument } from '../model.ts';
import type { AttachmentTarget } from './attachment-target.ts';
import { envelopeSchema, openEnvelope, signEnvelope } from './dsse.ts';
import { payloadMatches, simpleSigningPayload, simpleSigningType } from './simple-signing.ts';
import type { PublicKey, SigningKey } from './signing-key.ts';
import { type Predicate, statementOf, statementPayloadType, statementSchema } from './statement.ts';

const signatureAnnotation = 'dev.cosignproject.cosign/signature';
const envelopeType = 'application/vnd.dsse.envelope.v1+json';
const artifactTypes = {
  sig: 'application/vnd.dev.cosign.artifact.sig.v1+json',
  att: 'application/vnd.dev.cosign.artifact.att.v1+json',
} as const;
type Kind = keyof typeof artifactTypes;

/** @returns the tag by which cosign finds an image's signatures (`sig`) or attestations (`att`) */
export function cosignTag(image: Digest, kind: Kind): string {
  return `${image.replace(':', '-')}.${kind}`;
}

/**
 * Adds the key's signature of an image to those that are there; nothing when it has signed it already.
 * @param subject the image's manifest, or the index of several platforms
 */
export async function signImage(
  target: AttachmentTarget,
  subject: Descriptor,
  key: SigningKey,
  signal?: AbortSignal,
): Promise<void> {
  if (await hasSigned(target, subject.digest, key.publicKey, signal)) return;
  const payload = simpleSigningPayload(target.name, subject.digest);
  const signature = Buffer.from(key.sign(payload)).toString('base64');
  const document = documentOfBytes(simpleSigningType, payload, digestOf(payload), { [signatureAnnotation]: signature });
  await add(target, subject, 'sig', [document], signal);
}

/** Adds predicates as statements in signed envelopes; one of the same content by the same key is there once. */
export async function signAttestations(
  target: AttachmentTarget,
  subject: Descriptor,
  predicates: readonly Predicate[],
  key: SigningKey,
  signal?: AbortSignal,
): Promise<void> {
  const known = new Set(
    (await attestationsOf(target, subject.digest, key.publicKey, signal)).map(({ bytes }) => digestOf(bytes)),
  );
  const documents: Document[] = [];
  for (const predicate of predicates) {
    const statement = statementOf({ name: target.name, digest: subject.digest }, predicate);
    if (known.has(digestOf(statement))) continue;
    const bytes = Buffer.from(JSON.stringify(signEnvelope(statementPayloadType, statement, key)));
    const annotations = { [signatureAnnotation]: '', predicateType: predicate.type };
    documents.push(documentOfBytes(envelopeType, bytes, digestOf(bytes), annotations));
  }
  if (documents.length > 0) await add(target, subject, 'att', documents, signal);
}

export interface VerifiedImage {
  /** How many of the image's signatures are the key's. */
  readonly signatures: number;
  /** Attestations about the image that the key has signed. */
  readonly attestations: readonly { readonly predicateType: string; readonly predicate: unknown }[];
}

/**
 * @returns what the key has signed of the image
 * @throws BerthError SIGNATURE_INVALID when no signature of the image is the key's
 */
export async function verifyImage(
  target: AttachmentTarget,
  image: Digest,
  key: PublicKey,
  signal?: AbortSignal,
): Promise<VerifiedImage> {
  const layers = await layersOf(target, image, 'sig', signal);
  const signatures = await count(layers, (layer) => isSignedBy(target, layer, image, key, signal));
  if (signatures === 0) {
    const reason = layers.length === 0 ? 'is not signed' : 'is signed, but not by the given key';
    throw new BerthError('SIGNATURE_INVALID', `The image ${target.name}@${image} ${reason}.`);
  }
  const attestations = (await attestationsOf(target, image, key, signal)).map(({ predicateType, predicate }) => ({
    predicateType,
    predicate,
  }));
  return { signatures, attestations };
}

async function hasSigned(
  target: AttachmentTarget,
  image: Digest,
  key: PublicKey,
  signal?: AbortSignal,
): Promise<boolean> {
  const layers = await layersOf(target, image, 'sig', signal);
  return (await count(layers, (layer) => isSignedBy(target, layer, image, key, signal))) > 0;
}

async function count(layers: readonly Descriptor[], holds: (layer: Descriptor) => Promise<boolean>): Promise<number> {
  let number = 0;
  for (const layer of layers) if (await holds(layer)) number += 1;
  return number;
}

async function isSignedBy(
  target: AttachmentTarget,
  layer: Descriptor,
  image: Digest,
  key: PublicKey,
  signal?: AbortSignal,
): Promise<boolean> {
  const signature = layer.annotations?.[signatureAnnotation];
  if (layer.mediaType !== simpleSigningType || !signature || layer.size > maxDocumentBytes) return false;
  const payload = await target.read(layer, signal);
  return key.verify(payload, Buffer.from(signature, 'base64')) && payloadMatches(payload, image);
}

async function attestationsOf(target: AttachmentTarget, image: Digest, key: PublicKey, signal?: AbortSignal) {
  const found: { bytes: Uint8Array; predicateType: string; predicate: unknown }[] = [];
  for (const layer of await layersOf(target, image, 'att', signal)) {
    if (layer.mediaType !== envelopeType || layer.size > maxDocumentBytes) continue;
    const envelope = parseDocument(envelopeSchema, await target.read(layer, signal), 'an envelope');
    const bytes = envelope.payloadType === statementPayloadType ? openEnvelope(envelope, key) : undefined;
    if (!bytes) continue;
    const { predicate, predicateType, subject } = parseDocument(statementSchema, bytes, 'a statement');
    if (subject.some(({ digest }) => `sha256:${digest['sha256']}` === image))
      found.push({ bytes, predicateType, predicate });
  }
  return found;
}

/** A document that is read into memory; SBOMs of large closures have a few MB. */
const maxDocumentBytes = 128 * 1024 * 1024;

async function layersOf(
  target: AttachmentTarget,
  image: Digest,
  kind: Kind,
  signal?: AbortSignal,
): Promise<Descriptor[]> {
  return (await manifestOf(target, image, kind, signal))?.layers ?? [];
}

/** Under the tag, or else by the list of referrers, where newer cosigns put it. */
async function manifestOf(
  target: AttachmentTarget,
  image: Digest,
  kind: Kind,
  signal?: AbortSignal,
): Promise<Manifest | undefined> {
  const what = `the signatures of ${target.name}@${image}`;
  const tagged = await target.tagged(cosignTag(image, kind), signal);
  if (tagged) return parseDocument(manifestSchema, tagged.bytes, what);
  const newest = (await target.referrers(image, artifactTypes[kind], signal)).at(-1);
  if (!newest) return undefined;
  return parseDocument(manifestSchema, (await target.manifest(newest.digest, signal)).bytes, what);
}

/** Writes the manifest anew with documents added, and gives it the tag. */
async function add(
  target: AttachmentTarget,
  subject: Descriptor,
  kind: Kind,
  documents: readonly Document[],
  signal?: AbortSignal,
): Promise<void> {
  const kept = await layersOf(target, subject.digest, kind, signal);
  const layers = [...kept, ...documents.map(({ descriptor }) => descriptor)];
  // A config as images have it, so that programs which know images only can copy signatures too.
  const config = documentOf(mediaTypes.config, {
    architecture: '',
    os: '',
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  });
  const artifact = artifactOf({
    artifactType: artifactTypes[kind],
    subject,
    config,
    kept,
    documents,
    tag: cosignTag(subject.digest, kind),
  });
  await target.put(artifact, signal);
}
