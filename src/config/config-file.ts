/** The config that a command means: a file, the folder it is in, and its shape. */

/** The accepted shapes: docs/config.md has an example of each. `nix` covers Berth's, Replit's and mkShell's. */
export type ConfigShape = 'nix' | 'flake';

export interface ConfigFile {
  /** Absolute path of config.nix, shell.nix, replit.nix or flake.nix. */
  readonly file: string;
  /** Absolute path of the project folder, mounted at /work. */
  readonly directory: string;
  /** Absolute path of berth.lock. */
  readonly lockFile: string;
  readonly shape: ConfigShape;
}
