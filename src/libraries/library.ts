/**
 * The port of package managers of programming languages. A manager says what a lock file asks for, as data; the rest of
 * this folder downloads it, runs the manager's own frozen install in a sandbox, and keeps the tree.
 * Adapters: npm/, python/, cargo/, go/. Contract suite: library-contract.ts.
 */
import type { Integrity } from './integrity.ts';

export type ManagerName = 'npm' | 'python' | 'cargo' | 'go';

/** A file of a package that a lock names by its content. */
export interface LockedArtifact {
  /** Where the lock says that it is: `https://…`. */
  readonly url: string;
  /** The package, for people: `left-pad 1.3.0`. */
  readonly label: string;
  readonly integrity: Integrity;
  /** For a manager that takes packages as files: its name in the sandbox's folder /berth/downloads. */
  readonly saveAs?: string;
}

/** A file that the install is given, by its path relative to the lock's folder. */
export interface LibraryInput {
  readonly path: string;
  readonly content: Uint8Array;
}

/** One command of an install. */
export interface InstallCommand {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A script for the sandbox's own busybox, which is there whatever the environment brings. */
export function shell(script: string, env: Readonly<Record<string, string>> = {}): InstallCommand {
  return { argv: ['/berth/bin/busybox', 'sh', '-c', script], env };
}

/** What a lock file asks for, and how the manager puts it in place. */
export interface LibraryPlan {
  /** Everything of the project that the install reads. Its bytes are in the tree's key. */
  readonly inputs: readonly LibraryInput[];
  readonly artifacts: readonly LockedArtifact[];
  /** What else is asked for while packages are fetched: addresses, and what they answer. Nothing that is installed. */
  readonly pages: Readonly<Record<string, string>>;
  /** With a network that leads to the artifacts and the pages only. */
  readonly fetch: readonly InstallCommand[];
  /** With no network at all: install scripts, native add-ons. */
  readonly build: readonly InstallCommand[];
  /** The folders that become the tree, relative to the lock's folder, each where it is in the tree. */
  readonly outputs: readonly string[];
  /** How the tree shows in a berth. */
  readonly place: LibraryPlace;
  /** Packages, for people and for the SBOM. */
  readonly packages: readonly LibraryPackage[];
  /**
   * What only the interpreter or a registry's index can tell, such as where a package of a hash lies. Asked when a tree is
   * made, not when it is there.
   * @throws as `plan`, and what `page` throws
   */
  readonly locate?: (tools: LocateTools) => Promise<LocatedPackages>;
}

export interface LocateTools {
  /** @returns a page of an index; a registry that is away may give an older one */
  page(url: string): Promise<Uint8Array>;
  /**
   * Runs a command of the environment among the plan's inputs, with no network.
   * @returns what it printed
   */
  run(command: InstallCommand): Promise<string>;
}

/** Added to the plan's own. */
export interface LocatedPackages {
  readonly artifacts: readonly LockedArtifact[];
  readonly inputs: readonly LibraryInput[];
  readonly packages: readonly LibraryPackage[];
}

export interface LibraryPackage {
  readonly name: string;
  readonly version: string;
  /** Package URL (purl specification). */
  readonly purl: string;
}

/** How a tree shows in a berth. */
export interface LibraryPlace {
  /** Folders of the tree, and where each is mounted under a writable layer of the berth's own. */
  readonly mounts: readonly { readonly folder: string; readonly target: string }[];
  /** Variables by which the language finds it. */
  readonly variables: Readonly<Record<string, string>>;
  /** Folders that come first on PATH. */
  readonly path: readonly string[];
}

export interface ManagerContext {
  /** The lock's folder on the host. */
  readonly folder: string;
  readonly lockFile: string;
  /** The lock's folder in a berth, and in the sandbox: `/work`. */
  readonly target: string;
  /** `x86_64-linux` */
  readonly system: string;
  /** What the manager's question was answered. */
  readonly answer: string;
}

export interface LibraryManager {
  readonly name: ManagerName;
  /** Names of its lock files, the preferred first; for `libraries = "auto"`. */
  readonly lockFiles: readonly string[];
  /** Programs that the environment must have, each with the packages that bring it, for the error's hint. */
  readonly programs: readonly { readonly name: string; readonly packages: string }[];
  /** Raised when an install of the same lock gives another tree. */
  readonly version: number;
  /** Asked in the environment, once for each store path of its program: a version, a default registry. */
  readonly question?: InstallCommand;
  /** How to keep what a user installed by hand: shown in the container. */
  readonly keepHint: string;
  /**
   * Reads the lock.
   * @throws BerthError LIBRARY_LOCK_INVALID, LIBRARY_LOCK_UNHASHED, LIBRARY_UNSUPPORTED, LIBRARY_PLATFORM
   */
  plan(context: ManagerContext): Promise<LibraryPlan>;
}
