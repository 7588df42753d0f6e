/** A registry in memory over real HTTP on loopback, for tests: it follows the protocol, and fails as it is told to. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf } from '../../core/digest.ts';

export interface FakeRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly blobs: Map<string, Buffer>;
  /** By `REPOSITORY:TAG` and `REPOSITORY@DIGEST`. */
  readonly manifests: Map<string, { readonly bytes: Buffer; readonly mediaType: string }>;
  /** `METHOD PATH` of all requests, in order. */
  readonly requests: string[];
  /** The header `authorization` of the same. */
  readonly authorizations: (string | undefined)[];
  /** Answers in the registry's place when it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Bytes of a request's or answer's body after which the connection is cut; once. */
  cutUploadAfter: number | undefined;
  cutDownloadAfter: number | undefined;
  hasReferrersApi: boolean;
  close(): Promise<void>;
}

export async function startFakeRegistry(): Promise<FakeRegistry> {
  const uploads = new Map<string, Buffer[]>();
  const owners = new Map<string, Set<string>>();
  let uploadCount = 0;
  const registry: Omit<FakeRegistry, 'host' | 'close'> = {
    blobs: new Map(),
    manifests: new Map(),
    requests: [],
    authorizations: [],
    intercept: () => false,
    cutUploadAfter: undefined,
    cutDownloadAfter: undefined,
    hasReferrersApi: true,
  };
  const own = (repository: string, digest: string) =>
    owners.set(repository, (owners.get(repository) ?? new Set()).add(digest));
  const fail = (response: ServerResponse, status: number, code: string, message = code.toLowerCase()) =>
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(JSON.stringify({ errors: [{ code, message }] }));

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://registry');
    const method = request.method ?? 'GET';
    const upload = /^\/v2\/(.+)\/blobs\/uploads\/(\w*)$/.exec(url.pathname);
    const blob = /^\/v2\/(.+)\/blobs\/(sha256:\w+)$/.exec(url.pathname);
    const manifest = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(url.pathname);
    const referrers = /^\/v2\/(.+)\/referrers\/(.+)$/.exec(url.pathname);
    const tags = /^\/v2\/(.+)\/tags\/list$/.exec(url.pathname);
    if (upload) await handleUpload(request, response, method, url, upload[1] ?? '', upload[2] ?? '');
    else if (blob) sendBlob(request, response, method, blob[1] ?? '', blob[2] ?? '');
    else if (manifest) await handleManifest(request, response, method, manifest[1] ?? '', manifest[2] ?? '');
    else if (referrers && registry.hasReferrersApi) sendReferrers(response, referrers[1] ?? '', referrers[2] ?? '');
    else if (tags) sendTags(response, url, tags[1] ?? '');
    else if (url.pathname === '/v2/') response.end('{}');
    else fail(response, 404, 'UNSUPPORTED');
  };

  const handleUpload = async (
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    url: URL,
    repository: string,
    id: string,
  ): Promise<void> => {
    if (method === 'POST') {
      const mount = url.searchParams.get('mount') ?? '';
      if (owners.get(url.searchParams.get('from') ?? '')?.has(mount)) {
        own(repository, mount);
        response.writeHead(201, { location: `/v2/${repository}/blobs/${mount}` }).end();
        return;
      }
      uploadCount += 1;
      uploads.set(String(uploadCount), []);
      response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/${uploadCount}` }).end();
      return;
    }
    const pieces = uploads.get(id);
    if (!pieces) return void fail(response, 404, 'BLOB_UPLOAD_UNKNOWN');
    const size = () => pieces.reduce((sum, piece) => sum + piece.length, 0);
    const place = () => ({ location: url.pathname, range: `0-${Math.max(0, size() - 1)}` });
    const range = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
    if (range !== undefined && Number(range) !== size()) return void fail(response, 416, 'RANGE_INVALID');
    for await (const piece of request) {
      pieces.push(piece as Buffer);
      if (registry.cutUploadAfter !== undefined && size() >= registry.cutUploadAfter) {
        registry.cutUploadAfter = undefined;
        request.socket.resetAndDestroy();
        return;
      }
    }
    if (method === 'GET') return void response.writeHead(204, place()).end();
    if (method === 'PATCH') return void response.writeHead(202, place()).end();
    const bytes = Buffer.concat(pieces);
    if (digestOf(bytes) !== url.searchParams.get('digest')) return void fail(response, 400, 'DIGEST_INVALID');
    registry.blobs.set(digestOf(bytes), bytes);
    own(repository, digestOf(bytes));
    uploads.delete(id);
    response.writeHead(201, { location: `/v2/${repository}/blobs/${digestOf(bytes)}` }).end();
  };

  const sendBlob = (
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    repository: string,
    digest: string,
  ): void => {
    const bytes = owners.get(repository)?.has(digest) ? registry.blobs.get(digest) : undefined;
    if (!bytes) return void fail(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const rest = bytes.subarray(from);
    const ranges = from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': rest.length, ...ranges });
    if (method === 'HEAD') return void response.end();
    const cut = registry.cutDownloadAfter;
    if (cut === undefined) return void response.end(rest);
    registry.cutDownloadAfter = undefined;
    response.write(rest.subarray(0, cut), () => response.socket?.end());
  };

  const handleManifest = async (
    request: IncomingMessage,
    response: ServerResponse,
    method: string,
    repository: string,
    name: string,
  ): Promise<void> => {
    const key = name.includes(':') ? `${repository}@${name}` : `${repository}:${name}`;
    if (method === 'PUT') {
      const hash = createHash('sha256');
      const pieces: Buffer[] = [];
      for await (const piece of request) {
        pieces.push(piece as Buffer);
        hash.update(piece as Buffer);
      }
      const bytes = Buffer.concat(pieces);
      const digest = `sha256:${hash.digest('hex')}`;
      const stored = { bytes, mediaType: request.headers['content-type'] ?? '' };
      registry.manifests.set(key, stored);
      registry.manifests.set(`${repository}@${digest}`, stored);
      const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
      const listed = subject && registry.hasReferrersApi ? { 'oci-subject': subject.digest } : {};
      response.writeHead(201, { 'docker-content-digest': digest, ...listed }).end();
      return;
    }
    const found = registry.manifests.get(key);
    if (!found) return void fail(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    response.writeHead(200, {
      'content-type': found.mediaType,
      'content-length': found.bytes.length,
      'docker-content-digest': digestOf(found.bytes),
    });
    response.end(method === 'HEAD' ? undefined : found.bytes);
  };

  const sendReferrers = (response: ServerResponse, repository: string, subject: string): void => {
    const manifests = [...registry.manifests].flatMap(([key, { bytes, mediaType }]) => {
      const value = JSON.parse(bytes.toString()) as { subject?: { digest: string }; artifactType?: string };
      if (!key.startsWith(`${repository}@`) || value.subject?.digest !== subject) return [];
      return [{ mediaType, digest: digestOf(bytes), size: bytes.length, artifactType: value.artifactType }];
    });
    response.end(JSON.stringify({ schemaVersion: 2, manifests }));
  };

  /** One tag to a page, so that a client has to turn pages. */
  const sendTags = (response: ServerResponse, url: URL, repository: string): void => {
    const all = [...registry.manifests.keys()].filter((key) => key.startsWith(`${repository}:`)).sort();
    const page = Number(url.searchParams.get('page') ?? 0);
    const more = page + 1 < all.length ? { link: `</v2/${repository}/tags/list?page=${page + 1}>; rel="next"` } : {};
    response.writeHead(200, more);
    response.end(JSON.stringify({ tags: all.slice(page, page + 1).map((key) => key.split(':')[1]) }));
  };

  const server = createServer((request, response) => {
    registry.requests.push(`${request.method} ${request.url}`);
    registry.authorizations.push(request.headers.authorization);
    if (registry.intercept(request, response)) return;
    handle(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(registry, {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}
