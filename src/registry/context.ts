/** What the registry's handlers share. */
import type { BlobDigest } from '../oci/blobs/blob-store.ts';
import type { Access } from './access.ts';
import type { KeptBlobs } from './disk/kept-blobs.ts';
import type { Leases } from './leases.ts';
import type { ManifestStore } from './manifest-store.ts';
import type { Reference } from './reference.ts';
import type { Uploads } from './uploads.ts';

/**
 * Asked for a manifest that is not there: makes it and stores it, by `putImage` or otherwise.
 * @returns where it is now, or undefined when there is no such thing
 * @throws BerthError: one of the user's becomes "manifest unknown" with its message; a retryable one becomes 503, with
 *   Retry-After when its `details.retryAfterSeconds` says so
 */
export type OnMissing = (
  repository: string,
  reference: Reference,
  context: { readonly signal: AbortSignal; readonly method: 'GET' | 'HEAD'; readonly tenant: string },
) => Promise<{ readonly repository: string; readonly digest: BlobDigest } | undefined>;

export interface RegistryContext {
  readonly blobs: KeptBlobs;
  readonly manifests: ManifestStore;
  readonly leases: Leases;
  readonly uploads: Uploads;
  readonly onMissing?: OnMissing;
  /** @returns the one name under which a repository is stored that can be spelled in several ways */
  readonly storedName: (repository: string) => string;
  /** Whether a stored repository takes no pushes: what is in it is built. */
  readonly readOnly: (repository: string) => boolean;
  /** Answers pulls of blobs by a redirect to where the store of blobs has them, where it can. */
  readonly redirectSeconds: number | null;
  /** Says that something is under way. @returns says that it has ended */
  readonly beginWork: () => () => void;
  /** Milliseconds without a byte after which a client that sends counts as gone. */
  readonly idleMs: number;
}

/** One request, as far as it was understood. */
export interface Call {
  readonly request: Request;
  readonly url: URL;
  readonly access: Access;
}
