/** Manifests by tag and digest: pull, with a build on demand where there is one, push and deletion. */
import { createHash } from 'node:crypto';
import { type BlobDigest } from '../oci/blobs/blob-store.ts';
import { checkAccess } from './access.ts';
import { matches } from './blob-routes.ts';
import type { Call, RegistryContext } from './context.ts';
import type { StoredManifest } from './manifest-store.ts';
import { maxManifestBytes, readManifest, type ReadManifest } from './read-manifest.ts';
import { checkDigest, parseReference, type Reference } from './reference.ts';
import { Refusal } from './refusal.ts';
import { wholeBodyOf } from './request-body.ts';

/** Holds a manifest that somebody pulls, or that waits for the index which it belongs to. */
const holder = 'manifest';

export async function handleManifest(
  context: RegistryContext,
  call: Call,
  repository: string,
  text: string,
): Promise<Response> {
  const reference = call.request.method === 'PUT' ? parseReference(text) : soughtReference(repository, text);
  switch (call.request.method) {
    case 'GET':
    case 'HEAD':
      checkAccess(call.access, repository, 'pull');
      return sendManifest(context, call, repository, reference);
    case 'PUT':
      checkAccess(call.access, repository, 'push');
      return takeManifest(context, call, repository, reference);
    case 'DELETE':
      checkAccess(call.access, repository, 'delete');
      return deleteManifest(context, repository, reference);
    default:
      throw new Refusal('UNSUPPORTED', `A manifest takes no ${call.request.method}.`, { status: 405 });
  }
}

/** What can't be the name of a manifest is not there. */
function soughtReference(repository: string, text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'MANIFEST_INVALID') throw error;
    throw new Refusal('MANIFEST_UNKNOWN', `The repository ${repository} has no \`${text}\`: ${error.message}`);
  }
}

async function sendManifest(
  context: RegistryContext,
  call: Call,
  repository: string,
  reference: Reference,
): Promise<Response> {
  const { request } = call;
  const found = await findManifest(context, call, repository, reference);
  if (!found) {
    const shown = 'tag' in reference ? `tag ${reference.tag}` : `manifest ${reference.digest}`;
    throw new Refusal('MANIFEST_UNKNOWN', `The repository ${repository} has no ${shown}.`, { detail: reference });
  }
  const { digest, mediaType, bytes } = found;
  context.leases.hold(digest, holder);
  const etag = `"${digest}"`;
  const headers = {
    'Content-Type': mediaType,
    'Docker-Content-Digest': digest,
    ETag: etag,
    // A tag may point elsewhere in a moment.
    'Cache-Control': 'tag' in reference ? 'private, no-cache' : 'private, max-age=31536000, immutable',
  };
  if (matches(request.headers.get('if-none-match'), etag)) return new Response(null, { status: 304, headers });
  const whole = { ...headers, 'Content-Length': String(bytes.length) };
  if (request.method === 'HEAD') return new Response(null, { headers: whole });
  context.manifests.touchImage(digest);
  return new Response(Buffer.from(bytes), { headers: whole });
}

async function findManifest(
  { manifests, onMissing, storedName }: RegistryContext,
  { request, access }: Call,
  repository: string,
  reference: Reference,
): Promise<StoredManifest | undefined> {
  const found = manifests.manifest(storedName(repository), reference);
  if (found || !onMissing) return found;
  const method = request.method === 'HEAD' ? 'HEAD' : 'GET';
  const made = await onMissing(repository, reference, { signal: request.signal, method, tenant: access.tenant });
  return made && manifests.manifest(made.repository, { digest: made.digest });
}

async function takeManifest(
  context: RegistryContext,
  { request, url }: Call,
  name: string,
  reference: Reference,
): Promise<Response> {
  const { manifests, leases, storedName, readOnly, idleMs } = context;
  const repository = storedName(name);
  if (readOnly(repository)) {
    throw new Refusal('DENIED', `${name} is built from packages of these names: push to another name.`);
  }
  const bytes = await wholeBodyOf(request, maxManifestBytes, idleMs);
  const digest = digestAs(bytes, 'digest' in reference ? reference.digest : wantedDigest(url));
  const manifest = readManifest(bytes, digest, request.headers.get('content-type'));
  const missing = missingParts(context, repository, manifest);
  if (missing.length > 0) {
    throw new Refusal(
      'MANIFEST_BLOB_UNKNOWN',
      `The repository ${name} lacks what the manifest names: ${missing.join(', ')}.`,
      {
        detail: { missing },
      },
    );
  }
  const tags = 'tag' in reference ? [reference.tag] : tagsOf(url);
  manifests.putManifest(
    repository,
    { ...manifest, blobs: manifest.blobs.filter((blob) => manifests.knownBlob(blob.digest) !== undefined) },
    tags,
  );
  // From here on the manifest keeps them. One without a tag waits itself for the index that names it.
  for (const blob of manifest.blobs) leases.release(blob.digest, repository);
  for (const blob of manifest.blobs) leases.release(blob.digest, 'push');
  for (const child of manifest.children) leases.release(child, holder);
  if (tags.length === 0) leases.hold(digest, holder);
  return new Response(null, {
    status: 201,
    headers: [
      ['Location', `/v2/${name}/manifests/${digest}`],
      ['Docker-Content-Digest', digest],
      ...(manifest.subject ? [['OCI-Subject', manifest.subject] as [string, string]] : []),
      ...('tag' in reference ? [] : tags.map((tag) => ['OCI-Tag', tag] as [string, string])),
    ],
  });
}

/** Bytes are named in the algorithm that the client asks for. @throws Refusal DIGEST_INVALID when they have another digest */
function digestAs(bytes: Uint8Array, wanted: BlobDigest | undefined): BlobDigest {
  const algorithm = wanted?.startsWith('sha512:') ? 'sha512' : 'sha256';
  const digest: BlobDigest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
  if (wanted === undefined || wanted === digest) return digest;
  throw new Refusal('DIGEST_INVALID', `The manifest has the digest ${digest}, not ${wanted}.`);
}

function wantedDigest(url: URL): BlobDigest | undefined {
  const text = url.searchParams.get('digest');
  return text === null ? undefined : checkDigest(text);
}

/** Tags that a push by digest asks for besides. */
function tagsOf(url: URL): string[] {
  return url.searchParams.getAll('tag').map((text) => {
    const reference = parseReference(text);
    if ('tag' in reference) return reference.tag;
    throw new Refusal('MANIFEST_INVALID', `\`${text}\` is no tag.`);
  });
}

/** What must be there already. A subject need not, by the specification. */
function missingParts({ manifests }: RegistryContext, repository: string, manifest: ReadManifest): BlobDigest[] {
  const blobs = manifest.blobs.filter(
    ({ digest, required }) => required && manifests.blob(repository, digest) === undefined,
  );
  const children = manifest.children.filter((digest) => !manifests.hasManifest(repository, digest));
  return [...new Set([...blobs.map(({ digest }) => digest), ...children])];
}

function deleteManifest({ manifests, storedName }: RegistryContext, name: string, reference: Reference): Response {
  const repository = storedName(name);
  const deleted =
    'tag' in reference
      ? manifests.deleteTag(repository, reference.tag)
      : manifests.deleteManifest(repository, reference.digest);
  if (deleted) return new Response(null, { status: 202 });
  throw new Refusal('MANIFEST_UNKNOWN', `The repository ${name} has no such manifest or tag.`, { detail: reference });
}
