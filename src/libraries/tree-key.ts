/** The key of a library tree: everything that decides what an install puts in place. */
import { digestOf, digestOfJson, type Digest } from '../core/digest.ts';
import type { Store, StorePath } from '../nix/store.ts';
import { findProgram } from './find-program.ts';
import type { LibraryManager, LibraryPlan } from './library.ts';
import type { InstallEnvironment } from './sandbox.ts';

/** Raised when the sandbox or the freezing changes what a tree holds. */
const installVersion = 1;

/** What native parts of packages are built by, where a plan builds any. */
const toolchain = ['cc', 'gcc', 'g++', 'make', 'python3', 'pkg-config'];

/**
 * Two trees of one key are the same: files that the install reads, the manager, interpreter and compiler by their store
 * paths, the platform. The rest of the environment is no part of it, so that adding a tool installs nothing anew.
 */
export function treeKey(
  manager: LibraryManager,
  plan: Pick<LibraryPlan, 'inputs' | 'build' | 'fetch'>,
  store: Store,
  environment: InstallEnvironment,
  system: string,
): Digest {
  const names = [...manager.programs.map(({ name }) => name), ...(plan.build.length > 0 ? toolchain : [])];
  const programs: Record<string, StorePath | null> = {};
  for (const name of names) programs[name] = findProgram(store, environment, name) ?? null;
  return digestOfJson({
    manager: [manager.name, manager.version, installVersion],
    inputs: plan.inputs.map(({ path, content }) => [path, digestOf(content)]),
    commands: [plan.fetch, plan.build],
    programs,
    system,
  });
}
