/**
 * The port of package sets. A source is locked once (the network is asked which revision is current), then prepared
 * (what the evaluation reads is brought into the store), then only the store is read.
 */
import type { Emit } from '../core/events.ts';
import type { Json, PreparedSource, SourceKind } from '../nix/prepared-source.ts';

export type { Json, PreparedSource, SourceKind };

/** A source's entry in berth.lock: exactly what is needed to get the same packages again. */
export interface LockedSource {
  readonly kind: SourceKind;
  /** What people call this revision: `bookworm 2026-07-11`, `nixpkgs 8a1b2c3 (2026-11-02)`. */
  readonly label: string;
  /** The adapter's own fields: suite, release digest, index narHash; or url, rev, narHash. */
  readonly pin: { readonly [key: string]: Json };
}

export interface PackageMatch {
  /** The name to write in a config. */
  readonly name: string;
  readonly version: string;
  readonly description: string;
  /** Which source and revision has it: `debian bookworm`. */
  readonly source: string;
}

/** A package that a revision has in some version. */
export interface PackageVersion {
  /** The name to write in a config. */
  readonly name: string;
  /** As the source writes it: `18.20.4+dfsg-1~deb12u3`. */
  readonly version: string;
  /** As its project does: `18.20.4`. */
  readonly upstream: string;
  /** Its builds in a binary cache by system, where they are known. */
  readonly storePaths?: Readonly<Record<string, string>>;
}

export interface VersionWanted {
  readonly name: string;
  /** @returns whether a version fits */
  readonly matches: (upstream: string, version: string) => boolean;
}

/** Versions of a revision that is not the locked one. */
export interface VersionsElsewhere {
  /** For people: `debian trixie`. */
  readonly label: string;
  readonly versions: (name: string) => Promise<readonly PackageVersion[]>;
  /** @returns the revision, to be locked */
  readonly lock: () => Promise<LockedSource>;
}

export interface SourceContext {
  readonly emit: Emit;
  readonly signal?: AbortSignal;
}

export interface Source {
  readonly kind: LockedSource['kind'];
  /**
   * Asks upstream which revision is current.
   * @param request what the user chose: `{ suite: "trixie" }`, `{ url, rev }`; empty means the settings' default
   * @throws BerthError MIRROR_UNREACHABLE, SIGNATURE_INVALID, SUITE_UNKNOWN, …
   */
  lock(request: Readonly<Record<string, string>>, context: SourceContext): Promise<LockedSource>;
  /**
   * Makes sure that the locked revision is in the store; a no-op when it is.
   * @throws BerthError HASH_MISMATCH when upstream no longer has what the lock says
   */
  prepare(locked: LockedSource, context: SourceContext): Promise<PreparedSource>;
  /** @returns packages whose name or description fits, best first */
  search(locked: LockedSource, query: string, limit: number, context: SourceContext): Promise<PackageMatch[]>;
  /** @returns whether a config can write the name; of a path as `python3Packages.pip` only the first part is looked at */
  has(locked: LockedSource, name: string, context: SourceContext): Promise<boolean>;
  /** @returns the versions that the revision has of a package, each with the name to take it by */
  versions(locked: LockedSource, name: string, context: SourceContext): Promise<PackageVersion[]>;
  /**
   * @returns other revisions that may have what the locked one lacks, such as Debian's other suites
   * @param wanted packages that are looked for; the first revisions of the result have them all, and are as few as can be
   * @param known revisions that are locked already, for other packages
   */
  elsewhere(
    locked: LockedSource,
    wanted: readonly VersionWanted[],
    known: readonly LockedSource[],
    context: SourceContext,
  ): Promise<readonly VersionsElsewhere[]>;
  /** @returns the names nearest to an unknown one, best first */
  nearest(locked: LockedSource, name: string, context: SourceContext): Promise<string[]>;
}
