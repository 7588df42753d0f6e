/**
 * Images over the pull half of the OCI distribution protocol, straight from where their layers come from: a layer that no
 * blob was kept of is written while it is sent. For an engine on this host that pulls; see daemon/loopback-registry.ts.
 */
import { randomBytes } from 'node:crypto';
import type { Image } from '../image.ts';

export interface ImageServer {
  /** Answers GET and HEAD of `/v2/…`. */
  fetch(request: Request): Response;
  /** Offers an image until `done`. @returns the repository that it is in, under a name that nobody can guess */
  offer(image: Image): { readonly repository: string; done(): void };
  /** How many images are offered. */
  readonly offered: number;
}

export function createImageServer(): ImageServer {
  const offers = new Map<string, Image>();
  return {
    get offered() {
      return offers.size;
    },
    offer(image) {
      // The listener is open to every user of the host: the name says who was told of it.
      const repository = `berth/${randomBytes(16).toString('hex')}`;
      offers.set(repository, image);
      return { repository, done: () => void offers.delete(repository) };
    },
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (request.method !== 'GET' && request.method !== 'HEAD') return failure(405, 'UNSUPPORTED', 'read only');
      if (pathname === '/v2/' || pathname === '/v2') return new Response('{}', { headers: jsonHeaders });
      const asked = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(pathname);
      const image = offers.get(asked?.[1] ?? '');
      if (!asked || !image) return failure(404, 'NAME_UNKNOWN', 'no such repository');
      const [, , kind, reference = ''] = asked;
      return kind === 'manifests' ? manifestOf(image, reference, request) : blobOf(image, reference, request);
    },
  };
}

const jsonHeaders = { 'content-type': 'application/json', 'docker-distribution-api-version': 'registry/2.0' };

function manifestOf({ manifest }: Image, reference: string, { method }: Request): Response {
  const { digest, mediaType, size } = manifest.descriptor;
  if (reference !== digest && reference !== 'latest') return failure(404, 'MANIFEST_UNKNOWN', 'no such manifest');
  const headers = { 'content-type': mediaType, 'content-length': String(size), 'docker-content-digest': digest };
  return new Response(method === 'HEAD' ? null : Buffer.from(manifest.bytes), { headers });
}

function blobOf(image: Image, digest: string, { method, signal }: Request): Response {
  const headersOf = (size: number) => ({
    'content-type': 'application/octet-stream',
    'content-length': String(size),
    'docker-content-digest': digest,
  });
  const isHead = method === 'HEAD';
  if (image.config.descriptor.digest === digest) {
    const { bytes } = image.config;
    return new Response(isHead ? null : Buffer.from(bytes), { headers: headersOf(bytes.length) });
  }
  const layer = image.layers.find(({ descriptor }) => descriptor.digest === digest);
  if (!layer) return failure(404, 'BLOB_UNKNOWN', 'no such blob');
  const headers = headersOf(layer.descriptor.size);
  if (isHead) return new Response(null, { headers });
  return new Response(ReadableStream.from<Uint8Array>(layer.open(signal)), { headers });
}

function failure(status: number, code: string, message: string): Response {
  return new Response(JSON.stringify({ errors: [{ code, message }] }), { status, headers: jsonHeaders });
}
