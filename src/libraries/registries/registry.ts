/**
 * The port of registries as sources of single packages: tools that no source of packages has. A registry's own client, run
 * in a sandbox, says which version fits and what belongs to it; what it names by hash is fetched by Nix, or what it has built
 * is frozen. Adapters: npm.ts, pypi.ts, crate.ts, go-module.ts, url.ts.
 */
import type { Json } from '../../nix/prepared-source.ts';
import type { RegistrySession } from './session.ts';

export interface RegistryPackage {
  readonly version: string;
  /** For people: `npm`. */
  readonly origin: string;
  /** See nix/outside.nix: `files` with addresses and hashes, or `path` with what was built. */
  readonly pin: { readonly [key: string]: Json };
}

export interface PackageRegistry {
  readonly kind: 'npm' | 'pypi' | 'crate' | 'goModule';
  /** What brings its client: lists of names in the default source, of which the first that it has all of is taken. */
  readonly tools: readonly (readonly string[])[];
  /**
   * @param wanted a version, the beginning of one, or a range in the registry's own notation
   * @throws BerthError VERSION_UNKNOWN, REGISTRY_UNREACHABLE, LIBRARY_INSTALL_FAILED, …
   */
  resolve(name: string, wanted: string, session: RegistrySession): Promise<RegistryPackage>;
}
