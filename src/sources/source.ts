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
  /** @returns the names nearest to an unknown one, best first */
  nearest(locked: LockedSource, name: string, context: SourceContext): Promise<string[]>;
}
