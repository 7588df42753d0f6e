/** A package set that an evaluation can use: what nix/sources.nix is told of it. */
import type { StorePath } from './store.ts';

/** JSON as it is handed to Nix. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What kinds of sources there are; nix/sources.nix has a way to load each. */
export type SourceKind = 'debian' | 'nixpkgs' | 'path';

/** A source that an evaluation can use without the network. */
export interface PreparedSource {
  readonly kind: SourceKind;
  /** Given to nix/evaluate.nix as `sources.<name>`; holds store paths and settings, no secret. */
  readonly nix: { readonly [key: string]: Json };
  /** All store paths that `nix` names. They must be valid in the store while it is used. */
  readonly storePaths: readonly StorePath[];
}
