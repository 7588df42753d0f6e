/**
 * An OCI distribution server (specification 1.1) as a function of Request to Response, over a store of blobs and a store
 * of manifests. docs/registry.md tells what it does; the specification's conformance suite says whether it does.
 */
import { type Emit, silent } from '../core/events.ts';
import type { BlobStore } from '../oci/blobs/blob-store.ts';
import type { Image, MultiPlatformImage } from '../oci/image.ts';
import { type Authorise, openAccess } from './access.ts';
import { handleBlob } from './blob-routes.ts';
import type { Call, OnMissing, RegistryContext } from './context.ts';
import { createImages, type Images } from './disk/images.ts';
import { keptBlobs, type KeptBlobs } from './disk/kept-blobs.ts';
import { createLeases } from './leases.ts';
import { handleCatalog, handleReferrers, handleTags } from './listing-routes.ts';
import type { ManifestStore } from './manifest-store.ts';
import { handleManifest } from './manifest-routes.ts';
import { putImage, type PutImageOptions, type PutImageResult } from './put-image.ts';
import { checkRepository, parsePath, type Target } from './reference.ts';
import { Refusal, refusalOf } from './refusal.ts';
import { handleNewUpload, handleUpload } from './upload-routes.ts';
import { createUploads } from './uploads.ts';

export interface RegistryOptions {
  readonly blobs: BlobStore;
  readonly manifests: ManifestStore;
  /** Builds on demand. Default: what is not there is unknown. */
  readonly onMissing?: OnMissing;
  /** Default: everyone may do everything. */
  readonly authorise?: Authorise;
  /** Names that mean the same are stored as one. Default: each name is its own. */
  readonly storedName?: (repository: string) => string;
  /** Stored repositories that take no pushes. Default: all take them. */
  readonly readOnly?: (repository: string) => boolean;
  /** Most bytes of blobs and uploads; past it images are evicted. Default null: no limit. */
  readonly maxBytes?: number | null;
  /** Seconds that a redirect to the store of blobs stays valid. Default null: blobs are sent, not redirected to. */
  readonly redirectSeconds?: number | null;
  /** How long after a pull's or push's last request it counts as under way. Default 10 minutes. */
  readonly leaseMs?: number;
  /** After how long without a byte a client counts as gone. Default a minute. */
  readonly idleMs?: number;
  /** How long an upload that rests can be resumed. Default a day. */
  readonly keepUploadsMs?: number;
  /** Told when work begins; what it returns is called when that has ended. */
  readonly beginWork?: () => () => void;
  readonly emit?: Emit;
  /** Told of failures that are the registry's own, with their cause. */
  readonly onError?: (error: unknown) => void;
}

export interface Registry {
  fetch(request: Request): Promise<Response>;
  /**
   * Stores an image without HTTP. What is there already is not written again.
   * @param tag null: by its digest only
   * @throws BerthError BLOBS_FULL, LAYER_UNREADABLE, CANCELLED
   */
  putImage(
    repository: string,
    tag: string | null,
    image: Image | MultiPlatformImage,
    options?: PutImageOptions,
  ): Promise<PutImageResult>;
  readonly images: Images;
  /** The store of blobs within its limit: whoever writes blobs beside the registry must write them here. */
  readonly blobs: KeptBlobs;
  readonly manifests: ManifestStore;
  close(): Promise<void>;
}

const minute = 60_000;

export function createRegistry(options: RegistryOptions): Registry {
  const { manifests, authorise, emit = silent } = options;
  const leaseMs = options.leaseMs ?? 10 * minute;
  const leases = createLeases(leaseMs);
  const images = createImages({ manifests, leases, orphanMs: leaseMs, blobs: () => blobs, emit });
  const blobs = keptBlobs({
    blobs: options.blobs,
    manifests,
    leases,
    maxBytes: options.maxBytes ?? null,
    makeRoom: (bytes) => images.makeRoom(bytes),
  });
  const uploads = createUploads({ blobs, manifests, keepMs: options.keepUploadsMs ?? 24 * 60 * minute });
  const sweeping = setInterval(() => {
    uploads.sweep().catch((error: unknown) => options.onError?.(error));
  }, minute);
  sweeping.unref();
  const context: RegistryContext = {
    ...{ blobs, manifests, leases, uploads },
    ...(options.onMissing ? { onMissing: options.onMissing } : {}),
    storedName: options.storedName ?? ((repository) => repository),
    readOnly: options.readOnly ?? (() => false),
    redirectSeconds: options.redirectSeconds ?? null,
    idleMs: options.idleMs ?? minute,
    beginWork: options.beginWork ?? (() => () => undefined),
  };

  return {
    async fetch(request) {
      const end = context.beginWork();
      try {
        const url = new URL(request.url);
        const target = parsePath(url.pathname);
        if (!target) throw new Refusal('UNSUPPORTED', `There is nothing at ${url.pathname}.`, { status: 404 });
        const access = authorise ? await authorise(request) : openAccess;
        return await answer(context, { request, url, access }, target);
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal.status === 500) options.onError?.(error);
        return refusal.response();
      } finally {
        end();
      }
    },
    putImage: (repository, tag, image, putOptions) =>
      putImage({ blobs, manifests, leases }, repository, tag, image, putOptions),
    images,
    blobs,
    manifests,
    async close() {
      clearInterval(sweeping);
      await uploads.close();
      await blobs.reconciled.catch(() => undefined);
      manifests.close();
    },
  };
}

async function answer(context: RegistryContext, call: Call, target: Target): Promise<Response> {
  if ('repository' in target) checkRepository(target.repository);
  switch (target.kind) {
    case 'base':
      return Response.json({}, { headers: { 'Docker-Distribution-Api-Version': 'registry/2.0' } });
    case 'catalog':
      return handleCatalog(context, call);
    case 'tags':
      return handleTags(context, call, target.repository);
    case 'referrers':
      return handleReferrers(context, call, target.repository, target.reference);
    case 'manifest':
      return handleManifest(context, call, target.repository, target.reference);
    case 'blob':
      return handleBlob(context, call, target.repository, target.reference);
    case 'uploads':
      return handleNewUpload(context, call, target.repository);
    case 'upload':
      return handleUpload(context, call, target.repository, target.id);
  }
}
