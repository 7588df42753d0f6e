/** Pulls of blobs: whole or a part, conditional, by redirect; and their deletion. */
import type { BlobDigest, BlobRange } from '../oci/blobs/blob-store.ts';
import { checkAccess } from './access.ts';
import { blobResponse } from './blob-response.ts';
import type { Call, RegistryContext } from './context.ts';
import { byteRangeOf } from './byte-range.ts';
import { checkDigest } from './reference.ts';
import { Refusal } from './refusal.ts';

export async function handleBlob(
  context: RegistryContext,
  call: Call,
  repository: string,
  text: string,
): Promise<Response> {
  const digest = checkDigest(text);
  switch (call.request.method) {
    case 'GET':
    case 'HEAD':
      checkAccess(call.access, repository, 'pull');
      return sendBlob(context, call, context.storedName(repository), digest);
    case 'DELETE': {
      checkAccess(call.access, repository, 'delete');
      if (!context.manifests.removeBlob(context.storedName(repository), digest)) throw unknownBlob(repository, digest);
      // Gone for good only when nobody else needs it.
      await context.blobs.drop(digest);
      return new Response(null, { status: 202 });
    }
    default:
      throw new Refusal('UNSUPPORTED', `A blob takes no ${call.request.method}.`, { status: 405 });
  }
}

async function sendBlob(
  context: RegistryContext,
  { request }: Call,
  repository: string,
  digest: BlobDigest,
): Promise<Response> {
  const { manifests, leases, blobs } = context;
  const size = manifests.blob(repository, digest);
  if (size === undefined) throw unknownBlob(repository, digest);
  // Who asks for it is pulling, or is about to push a manifest that needs it.
  leases.hold(digest, repository);
  const renew = (): void => {
    leases.renew(digest);
    for (const manifest of manifests.manifestsOf(digest)) leases.renew(manifest);
  };
  renew();
  const etag = `"${digest}"`;
  const headers: Record<string, string> = {
    'Docker-Content-Digest': digest,
    ETag: etag,
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'private, max-age=31536000, immutable',
    'Content-Type': 'application/octet-stream',
  };
  if (matches(request.headers.get('if-none-match'), etag)) return new Response(null, { status: 304, headers });
  if (request.method === 'HEAD') {
    return new Response(null, { headers: { ...headers, 'Content-Length': String(size) } });
  }
  if (context.redirectSeconds !== null && blobs.redirect) {
    const location = await blobs.redirect(digest, context.redirectSeconds);
    return new Response(null, { status: 307, headers: { Location: location, 'Docker-Content-Digest': digest } });
  }
  const ifRange = request.headers.get('if-range');
  const range = ifRange === null || ifRange === etag ? byteRangeOf(request.headers.get('range'), size) : undefined;
  if (range === 'unsatisfiable') {
    throw new Refusal('SIZE_INVALID', `The blob has ${size} bytes; the range that was asked for is not in it.`, {
      status: 416,
      headers: { 'Content-Range': `bytes */${size}` },
    });
  }
  const part: BlobRange = range ?? { start: 0, length: size };
  return blobResponse(blobs, digest, part, {
    status: range ? 206 : 200,
    headers: {
      ...headers,
      'Content-Length': String(part.length),
      ...(range ? { 'Content-Range': `bytes ${part.start}-${part.start + part.length - 1}/${size}` } : {}),
    },
    onProgress: renew,
    onEnd: context.beginWork(),
    signal: request.signal,
  });
}

/** @returns whether the header names the entity tag */
export function matches(header: string | null, etag: string): boolean {
  return (
    header !== null &&
    (header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag))
  );
}

export function unknownBlob(repository: string, digest: BlobDigest): Refusal {
  return new Refusal('BLOB_UNKNOWN', `The repository ${repository} has no blob ${digest}.`, { detail: { digest } });
}
