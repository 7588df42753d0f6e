/**
 * The operations of a registry (distribution specification 1.1), one request each: what push, pull, a cache in front of a
 * registry and attestations are made of. Names are checked, documents are verified against their digests.
 */
import { type Digest, digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { mediaTypes } from '../media-types.ts';
import { descriptorSchema, type Descriptor, type Document, type Index, indexSchema, parseDocument } from '../model.ts';
import { apiHostOf, formatReference, type ImageReference, manifestNameOf } from './reference.ts';
import { createTransport, type Transport, type TransportOptions } from './transport.ts';

/** A repository: `registry` and `repository` of a reference. */
export type Repository = Pick<ImageReference, 'registry' | 'repository'>;

export interface RegistryClient {
  readonly transport: Transport;
  /** @returns what a reference points at, or undefined when it is not there; one HEAD where the registry tells all */
  head(reference: ImageReference, signal?: AbortSignal): Promise<Descriptor | undefined>;
  /**
   * @returns the manifest or index, whose bytes have the digest that was asked for or that the registry says
   * @throws BerthError IMAGE_NOT_FOUND, HASH_MISMATCH, REGISTRY_DENIED, REGISTRY_UNREACHABLE, REGISTRY_REFUSED
   */
  manifest(reference: ImageReference, signal?: AbortSignal): Promise<Document>;
  /** @returns whether the registry says that the new manifest's `subject` is listed by its referrers API */
  putManifest(
    reference: ImageReference,
    manifest: Document,
    signal?: AbortSignal,
  ): Promise<{ readonly subjectListed: boolean }>;
  deleteManifest(reference: ImageReference, signal?: AbortSignal): Promise<void>;
  /** @returns the blob's size in bytes, or undefined when the repository does not have it */
  blobSize(repository: Repository, digest: Digest, signal?: AbortSignal): Promise<number | undefined>;
  /**
   * The blob's bytes from `from` on, as the registry sends them: not verified and not resumed (see readBlob).
   * @returns where they begin: 0 when the registry sends no ranges
   */
  blob(
    repository: Repository,
    digest: Digest,
    from?: number,
    signal?: AbortSignal,
  ): Promise<{ readonly from: number; readonly bytes: AsyncIterable<Uint8Array> }>;
  /** @returns the repository's tags, all pages */
  tags(repository: Repository, signal?: AbortSignal): Promise<string[]>;
  /** @returns descriptors of the referrers API, or undefined where the registry has none (see referrersOf) */
  referrers(repository: Repository, subject: Digest, signal?: AbortSignal): Promise<Descriptor[] | undefined>;
}

const manifestTypes = [
  mediaTypes.index,
  mediaTypes.manifest,
  mediaTypes.dockerManifestList,
  mediaTypes.dockerManifest,
].join(', ');
/** The specification asks registries to take manifests of 4 MiB at least; none are known that hold more. */
const maxManifestBytes = 16 * 1024 * 1024;
const maxPages = 1000;

/** @returns a client; it keeps tokens and what it learnt of registries, so share one where credentials are the same */
export function createRegistryClient(options: TransportOptions = {}): RegistryClient {
  const transport = createTransport(options);
  const maySignal = (signal?: AbortSignal) => (signal ? { signal } : {});

  /** All pages of a list, by the `Link` header (RFC 8288). */
  async function* pages(
    repository: Repository,
    firstPath: string,
    what: string,
    accept: number[],
    signal?: AbortSignal,
  ) {
    let path: string | undefined = firstPath;
    for (let page = 0; path !== undefined && page < maxPages; page += 1) {
      const request = { ...repository, method: 'GET', path, scopes: [pullScope(repository)], what } as const;
      const response = await transport.send({ ...request, accept: [200, ...accept], ...maySignal(signal) });
      yield { status: response.status, bytes: await readAll(response, what) };
      path = nextOf(response, `https://${apiHostOf(repository.registry)}${path}`);
    }
  }

  return {
    transport,
    async head(reference, signal) {
      const response = await transport.send({
        ...requestFor(reference, 'HEAD'),
        headers: { accept: manifestTypes },
        accept: [200, 404],
        ...maySignal(signal),
      });
      if (response.status === 404) return undefined;
      const told = descriptorSchema.safeParse({
        mediaType: response.headers.get('content-type'),
        digest: response.headers.get('docker-content-digest') ?? reference.digest,
        size: Number(response.headers.get('content-length') ?? NaN),
      });
      if (told.success) return told.data;
      const { descriptor } = await this.manifest(reference, signal);
      return descriptor;
    },
    async manifest(reference, signal) {
      const request = requestFor(reference, 'GET');
      const response = await transport.send({ ...request, headers: { accept: manifestTypes }, ...maySignal(signal) });
      const bytes = await readAll(response, request.what);
      const wanted = reference.digest ?? response.headers.get('docker-content-digest');
      const digest = digestOf(bytes);
      if (wanted?.startsWith('sha256:') && wanted !== digest) throw otherDigest(request.what, wanted, digest);
      const mediaType = (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '';
      return { bytes, descriptor: { mediaType: mediaTypeIn(bytes) ?? mediaType, digest, size: bytes.length } };
    },
    async putManifest(reference, manifest, signal) {
      const request = requestFor(reference, 'PUT');
      const response = await transport.send({
        ...request,
        headers: { 'content-type': manifest.descriptor.mediaType },
        body: manifest.bytes,
        ...maySignal(signal),
      });
      await response.body?.cancel();
      const stored = response.headers.get('docker-content-digest');
      if (stored !== null && stored !== manifest.descriptor.digest) {
        throw otherDigest(`${request.what}, as it was stored`, manifest.descriptor.digest, stored);
      }
      return { subjectListed: response.headers.has('oci-subject') };
    },
    async deleteManifest(reference, signal) {
      const response = await transport.send({
        ...requestFor(reference, 'DELETE'),
        scopes: [`repository:${reference.repository}:delete`],
        ...maySignal(signal),
      });
      await response.body?.cancel();
    },
    async blobSize(repository, digest, signal) {
      const response = await transport.send({
        ...blobRequest(repository, digest, 'HEAD'),
        accept: [200, 404],
        ...maySignal(signal),
      });
      if (response.status === 404) return undefined;
      const length = response.headers.get('content-length');
      // A registry that tells no size has the blob all the same; what counts for a push is that it is there.
      return length === null ? 0 : Number(length);
    },
    async blob(repository, digest, from = 0, signal) {
      const response = await transport.send({
        ...blobRequest(repository, digest, 'GET'),
        headers: from > 0 ? { range: `bytes=${from}-` } : {},
        ...maySignal(signal),
      });
      const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
      const partial = response.status === 206 && Number(start) === from;
      if (from > 0 && response.status === 206 && !partial) {
        await response.body?.cancel();
        throw new BerthError(
          'REGISTRY_REFUSED',
          `${repository.registry} sent another range of ${digest} than asked for.`,
        );
      }
      return { from: partial ? from : 0, bytes: (response.body ?? []) as AsyncIterable<Uint8Array> };
    },
    async tags(repository, signal) {
      const what = `the tags of ${nameOf(repository)}`;
      const tags: string[] = [];
      for await (const { bytes } of pages(
        repository,
        `/v2/${repository.repository}/tags/list?n=1000`,
        what,
        [],
        signal,
      )) {
        tags.push(...(tagsOf(bytes) ?? []));
      }
      return tags;
    },
    async referrers(repository, subject, signal) {
      const what = `the referrers of ${nameOf(repository)}@${subject}`;
      const found: Descriptor[] = [];
      const path = `/v2/${repository.repository}/referrers/${subject}`;
      for await (const { status, bytes } of pages(repository, path, what, [400, 404, 405], signal)) {
        const index = status === 200 ? indexIn(bytes) : undefined;
        if (!index) return undefined;
        found.push(...index.manifests);
      }
      return found;
    },
  };
}

/** @returns the scope of a token that may read a repository */
export function pullScope(repository: Repository): string {
  return `repository:${repository.repository}:pull`;
}

/** @returns the scope of a token that may write to a repository */
export function pushScope(repository: Repository): string {
  return `repository:${repository.repository}:pull,push`;
}

export function nameOf({ registry, repository }: Repository): string {
  return `${registry}/${repository}`;
}

/** @returns the error for bytes that are not what a digest says */
export function otherDigest(what: string, wanted: string, got: string): BerthError {
  return new BerthError('HASH_MISMATCH', `For ${what} the digest should be ${wanted} and is ${got}.`, {
    hint: 'The registry, or something between, damaged it: try again, and do not use what was sent.',
  });
}

function requestFor<const Method extends 'GET' | 'HEAD' | 'PUT' | 'DELETE'>(reference: ImageReference, method: Method) {
  const { registry, repository } = reference;
  return {
    registry,
    method,
    path: `/v2/${repository}/manifests/${manifestNameOf(reference)}`,
    scopes: [method === 'PUT' ? pushScope(reference) : pullScope(reference)],
    what: `the manifest of ${formatReference(reference)}`,
  };
}

function blobRequest<const Method extends 'GET' | 'HEAD'>(repository: Repository, digest: Digest, method: Method) {
  return {
    registry: repository.registry,
    method,
    path: `/v2/${repository.repository}/blobs/${digest}`,
    scopes: [pullScope(repository)],
    what: `the blob ${digest} of ${nameOf(repository)}`,
  };
}

async function readAll(response: Response, what: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += piece.length;
    if (size > maxManifestBytes) throw new BerthError('REGISTRY_REFUSED', `For ${what} came more than 16 MiB.`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The next page, on the same registry: a link elsewhere would take the token there. */
function nextOf(response: Response, base: string): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(response.headers.get('link') ?? '')?.[1];
  if (target === undefined) return undefined;
  const { pathname, search } = new URL(target, base);
  return pathname + search;
}

function mediaTypeIn(bytes: Uint8Array): string | undefined {
  const value = jsonOf(bytes) as { mediaType?: unknown } | null | undefined;
  return typeof value?.mediaType === 'string' ? value.mediaType : undefined;
}

function tagsOf(bytes: Uint8Array): string[] | undefined {
  const { tags } = (jsonOf(bytes) ?? {}) as { tags?: unknown };
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : undefined;
}

/** A proxy may answer 200 with a page of its own; then there is no such API. */
function indexIn(bytes: Uint8Array): Index | undefined {
  try {
    return parseDocument(indexSchema, bytes, 'the list of referrers');
  } catch {
    return undefined;
  }
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}
