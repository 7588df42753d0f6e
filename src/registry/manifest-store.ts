/**
 * The port for what a registry knows besides blobs: which repository has which manifests, tags and blobs, who refers to
 * whom, and how images are used. Every write is on the disk when it returns, and whole or not at all.
 */
import type { BlobDigest } from '../oci/blobs/blob-store.ts';

/** A manifest or index, as it was sent. */
export interface StoredManifest {
  readonly digest: BlobDigest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A manifest to be stored, with what it says of others. */
export interface NewManifest extends StoredManifest {
  /** Config and layers. */
  readonly blobs: readonly { readonly digest: BlobDigest; readonly size: number }[];
  /** The manifests of an index. */
  readonly children: readonly BlobDigest[];
  readonly subject?: BlobDigest;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** What building it anew would take, in milliseconds; absent when Berth can't. */
  readonly costMs?: number;
}

/** A manifest that refers to another, as the list of referrers shows it. */
export interface Referrer {
  readonly mediaType: string;
  readonly digest: BlobDigest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Part of a sorted list: at most `limit`, from after `last`. */
export interface Page {
  readonly limit: number;
  readonly last?: string;
}

/** An image as disk usage and eviction see it: what is kept or lost as one, with its platforms and its referrers. */
export interface ImageRecord {
  readonly digest: BlobDigest;
  readonly names: readonly { readonly repository: string; readonly tag: string | null }[];
  readonly mediaType: string;
  /** Its manifest, those of its platforms, and those that refer to any of these. */
  readonly manifests: readonly BlobDigest[];
  /** Every blob that it needs. */
  readonly blobs: readonly BlobDigest[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly usedAt: number;
  /** How often it was used, each use counting half as much for each `heatHalfLifeMs` that has passed since. */
  readonly heat: number;
  readonly costMs: number | null;
  readonly pinned: boolean;
}

export interface UploadRecord {
  readonly id: string;
  readonly repository: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface ManifestStore {
  manifest(repository: string, reference: { tag: string } | { digest: BlobDigest }): StoredManifest | undefined;
  hasManifest(repository: string, digest: BlobDigest): boolean;
  /** Stores it, gives the repository its blobs, and points the tag at it. */
  putManifest(repository: string, manifest: NewManifest, tags: readonly string[]): void;
  /** @returns whether it was there. Its tags in the repository go too. */
  deleteManifest(repository: string, digest: BlobDigest): boolean;
  deleteTag(repository: string, tag: string): boolean;
  /** @returns undefined when there is no such repository */
  tags(repository: string, page: Page): string[] | undefined;
  repositories(page: Page): string[];
  referrers(repository: string, subject: BlobDigest, artifactType?: string): Referrer[];

  /** @returns the blob's size when the repository may show it */
  blob(repository: string, digest: BlobDigest): number | undefined;
  addBlob(repository: string, digest: BlobDigest): void;
  removeBlob(repository: string, digest: BlobDigest): boolean;
  /** @returns repositories that have the blob */
  repositoriesOf(digest: BlobDigest): string[];

  /** The ledger of all blobs that are in the store of blobs. */
  knownBlob(digest: BlobDigest): number | undefined;
  knownBlobs(): { digest: BlobDigest; size: number; createdAt: number }[];
  recordBlob(digest: BlobDigest, size: number): void;
  /** Forgets the blob and every repository's claim to it. */
  forgetBlob(digest: BlobDigest): void;
  /** @returns whether a manifest needs the blob */
  isNeeded(digest: BlobDigest): boolean;

  addUpload(id: string, repository: string): void;
  upload(id: string): UploadRecord | undefined;
  removeUpload(id: string): void;
  uploads(): UploadRecord[];

  /** @returns the manifests that need the blob */
  manifestsOf(digest: BlobDigest): BlobDigest[];

  images(): ImageRecord[];
  /** @param reference a digest, or a repository and tag. @returns the image's digest */
  findImage(reference: string): BlobDigest | undefined;
  /** @returns whether there is such an image */
  pinImage(digest: BlobDigest, pinned: boolean): boolean;
  /** Says that an image is used now. */
  touchImage(digest: BlobDigest): void;
  /**
   * Forgets an image in all repositories, with what belongs to it alone.
   * @returns the blobs that no manifest needs any more
   */
  forgetImage(digest: BlobDigest, options?: { readonly unlessPinned?: boolean }): BlobDigest[];
  close(): void;
}
