/** An environment: closure, variables and hooks; immutable, named by a digest. */
import type { Digest } from '../core/digest.ts';
import type { Closure, StorePath } from '../nix/store.ts';

export type { Closure };

export interface Environment {
  /** Over everything below; the same on every host. */
  readonly digest: Digest;
  /** The output of the environment's derivation (nix/environment.nix); its closure is the environment's closure. */
  readonly storePath: StorePath;
  /** The merged FHS view that /usr, /bin, /lib and /lib64 lead to; null when no package needs one. */
  readonly fhs: StorePath | null;
  readonly variables: Readonly<Record<string, string>>;
  readonly shellHook: string;
  /** Bash functions that the set-up of a nixpkgs environment defines; empty where there are none. */
  readonly functions: string;
  readonly command: readonly string[] | null;
  readonly ports: readonly number[];
  readonly closure: Closure;
}
