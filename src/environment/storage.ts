/** What the store holds and for whom, as one port: seeds, garbage collection and disk usage. */
import type { ErrorReport } from '../core/errors.ts';
import type { WorkContext } from './service.ts';

export interface SeedSummary {
  /** The package's name, or the config's path. */
  readonly name: string;
  readonly kind: 'package' | 'config';
  /** The packages that it names, with their versions. */
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  /** What it was made from: `bookworm 2026-07-11`. */
  readonly sources: readonly string[];
  readonly closure: { readonly paths: number; readonly bytes: number };
  /** ISO 8601. */
  readonly createdAt: string;
  /** When an environment last used it, ISO 8601; null when none has. */
  readonly usedAt: string | null;
}

export interface SeedsAdded {
  readonly seeds: readonly SeedSummary[];
  /** What could not be seeded; the others were. */
  readonly failed: readonly { readonly name: string; readonly error: ErrorReport }[];
}

export interface SeedAddRequest {
  /** Names of packages in the default source. */
  readonly names: readonly string[];
  /** Configs, or folders that hold one; absolute. */
  readonly configs: readonly string[];
  /** Asks upstream for the current revision of the default source first. Default: what the seeds were made from before. */
  readonly update?: boolean;
}

/** Seeds that were written somewhere or read from there. */
export interface SeedsMoved {
  readonly names: readonly string[];
  readonly closure: { readonly paths: number; readonly bytes: number };
  /** Bytes of the archive; null where there is none. */
  readonly bytes: number | null;
  /** The file, folder or URL. */
  readonly place: string;
}

export interface SeedSuggestion {
  /** As it is written in a config. */
  readonly name: string;
  readonly version: string;
  readonly source: string;
  /** How many projects use it. */
  readonly projects: number;
  readonly environments: number;
  /** Of the package's own paths. */
  readonly bytes: number;
  /** ISO 8601. */
  readonly usedAt: string;
  readonly seeded: boolean;
}

export interface SeedMoveRequest {
  /** Default: all seeds. */
  readonly names?: readonly string[];
  /** A secret key's file (`nix key generate-secret`) that signs what is written. */
  readonly keyFile?: string;
}

export interface GarbageReport {
  readonly dryRun: boolean;
  readonly keepDays: number;
  /** Environments that nothing needs, by their digests. */
  readonly environments: readonly string[];
  /** Locked revisions of sources that no project uses. */
  readonly sources: readonly string[];
  readonly traces: number;
  readonly files: { readonly count: number; readonly bytes: number };
  readonly store: {
    readonly paths: number;
    /** Freed on the disk; for a dry run, the sum of the paths' sizes. */
    readonly bytes: number;
  };
}

/** Bytes are the sizes of the paths' archives, as Nix tells them. */
export interface DiskUsage {
  readonly store: {
    readonly paths: number;
    readonly bytes: number;
    /** What a garbage collection would leave there, without regard to how long ago something was used. */
    readonly neededBytes: number;
  };
  readonly environments: readonly EnvironmentUsage[];
  readonly seeds: readonly UserUsage[];
  readonly sources: readonly UserUsage[];
}

export interface UserUsage {
  readonly name: string;
  readonly paths: number;
  readonly bytes: number;
  /** Of paths that others need too. */
  readonly sharedBytes: number;
  readonly uniqueBytes: number;
}

export interface EnvironmentUsage extends UserUsage {
  readonly digest: string;
  /** Berths that have it. */
  readonly berths: readonly string[];
  /** ISO 8601. */
  readonly usedAt: string;
}

export interface StorageService {
  /** Brings packages and configs into the store ahead of need, and keeps them there. Adding one again renews it. */
  addSeeds(request: SeedAddRequest, context: WorkContext): Promise<SeedsAdded>;
  listSeeds(): Promise<SeedSummary[]>;
  /** What it held stays until the next garbage collection. */
  removeSeeds(names: readonly string[]): Promise<void>;
  /** Writes seeds as one archive, with what is needed to work from it without a network. */
  exportSeeds(file: string, request: SeedMoveRequest, context: WorkContext): Promise<SeedsMoved>;
  /** @param trust takes paths that no trusted key has signed */
  importSeeds(file: string, request: { readonly trust?: boolean }, context: WorkContext): Promise<SeedsMoved>;
  /** @param place a folder, `file://…`, or the URL of a binary cache that takes PUT */
  pushSeeds(place: string, request: SeedMoveRequest, context: WorkContext): Promise<SeedsMoved>;
  pullSeeds(place: string, request: { readonly trust?: boolean }, context: WorkContext): Promise<SeedsMoved>;
  suggestSeeds(limit: number): Promise<SeedSuggestion[]>;
  /** Drops what nothing needs. What runs, and what is being built, is not touched. */
  collectGarbage(request: { readonly dryRun?: boolean }, context: WorkContext): Promise<GarbageReport>;
  diskUsage(): Promise<DiskUsage>;
}
