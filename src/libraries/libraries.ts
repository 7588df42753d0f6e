/**
 * Libraries of programming languages: from a lock file to one read-only tree, made once for each key however many
 * environments, configs and callers ask.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, posix, relative } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { SingleFlight } from '../core/single-flight.ts';
import { physicalPath, type Store, type StorePath } from '../nix/store.ts';
import { findProgram } from './find-program.ts';
import { install, type InstallContext, type InstallOptions } from './install.ts';
import type { LibraryManager, LibraryPackage, LibraryPlace, ManagerContext, ManagerName } from './library.ts';
import { runInSandbox, type InstallEnvironment } from './sandbox.ts';
import { treeKey } from './tree-key.ts';

/** A tree that is in the store. */
export interface LibraryTree {
  readonly manager: ManagerName;
  readonly key: Digest;
  readonly storePath: StorePath;
  readonly packages: readonly LibraryPackage[];
  readonly place: LibraryPlace;
}

/** What is remembered of trees. */
export interface LibraryRecords {
  get(key: Digest): LibraryTree | undefined;
  save(tree: LibraryTree): void;
  /** It was used: it is kept for another while. */
  touch(key: Digest): void;
}

export interface LibrariesOptions extends Omit<InstallOptions, 'sandbox' | 'freeze'> {
  readonly store: Store;
  readonly managers: readonly LibraryManager[];
  readonly records: LibraryRecords;
  /** Copies a folder into the store, where its key keeps it from being collected. */
  readonly freeze: (key: Digest, folder: string, name: string, signal?: AbortSignal) => Promise<StorePath>;
  readonly busybox: string;
  readonly hostPath: string;
  readonly system: string;
}

export interface LibraryRequest {
  /** `npm`, `python`, … as the config names it. */
  readonly manager: string;
  /** Absolute path on the host. */
  readonly lockFile: string;
  /** The project's folder on the host, which is /work in a berth. */
  readonly project: string;
  readonly environment: InstallEnvironment;
}

export interface FoundTree {
  readonly tree: LibraryTree;
  readonly cache: 'hit' | 'miss';
  /** How to keep what a user installs by hand. */
  readonly keepHint: string;
}

export interface Libraries {
  /**
   * @returns the tree, and whether it was there
   * @throws BerthError LIBRARY_MANAGER_UNKNOWN, LIBRARY_PROGRAM_MISSING, LIBRARY_LOCK_INVALID, what `install` throws, …
   */
  tree(request: LibraryRequest, context: InstallContext): Promise<FoundTree>;
  /** @returns the lock files that stand in a folder, by manager: what `libraries = "auto"` means */
  found(folder: string): Promise<Readonly<Record<string, string>>>;
}

export function createLibraries(options: LibrariesOptions): Libraries {
  const { store, records } = options;
  const flights = new SingleFlight<Digest, LibraryTree>();

  function managerNamed(name: string): LibraryManager {
    const manager = options.managers.find((candidate) => candidate.name === name);
    if (manager) return manager;
    const known = options.managers.map((candidate) => candidate.name).join(', ');
    throw new BerthError('LIBRARY_MANAGER_UNKNOWN', `There are no libraries of \`${name}\`; there are: ${known}.`);
  }

  function requirePrograms(manager: LibraryManager, { environment, lockFile }: LibraryRequest): void {
    for (const { name, packages } of manager.programs) {
      if (findProgram(store, environment, name) !== undefined) continue;
      throw new BerthError('LIBRARY_PROGRAM_MISSING', `${lockFile} needs \`${name}\`, which the environment lacks.`, {
        hint: `Add ${packages} to the config's packages.`,
      });
    }
  }

  async function ask(
    manager: LibraryManager,
    environment: InstallEnvironment,
    folder: string,
    signal?: AbortSignal,
  ): Promise<string> {
    if (!manager.question) return '';
    const sandbox = {
      store,
      environment,
      busybox: options.busybox,
      hostPath: options.hostPath,
      workFolder: folder,
      workTarget: '/work',
    };
    const { code, stdout } = await runInSandbox(manager.question, sandbox, {
      timeoutMs: 30_000,
      ...(signal ? { signal } : {}),
    });
    if (code === 0) return stdout.trim();
    throw new BerthError('LIBRARY_INSTALL_FAILED', `\`${manager.question.argv.join(' ')}\` failed in the environment.`);
  }
  /** A program of one store path answers the same for ever. */
  const answers = new Map<string, Promise<string>>();

  async function contextOf(manager: LibraryManager, request: LibraryRequest, signal?: AbortSignal) {
    const program = manager.question?.argv[0];
    const path = program === undefined ? undefined : findProgram(store, request.environment, program);
    const folder = dirname(request.lockFile);
    const key = `${manager.name} ${path ?? ''}`;
    const known = answers.get(key);
    const asked = known ?? ask(manager, request.environment, folder, signal);
    if (!known) {
      answers.set(key, asked);
      asked.catch(() => answers.delete(key));
    }
    const answer = await asked;
    const target = targetOf(request);
    return { folder, lockFile: request.lockFile, target, system: options.system, answer } satisfies ManagerContext;
  }

  return {
    async tree(request, context) {
      const manager = managerNamed(request.manager);
      if (!existsSync(request.lockFile)) {
        throw new BerthError('LIBRARY_LOCK_INVALID', `The lock file ${request.lockFile} is not there.`);
      }
      requirePrograms(manager, request);
      const asked = await contextOf(manager, request, context.signal);
      const plan = await manager.plan(asked);
      const key = treeKey(manager, plan, store, request.environment, options.system);
      const known = records.get(key);
      if (known && existsSync(physicalPath(store, known.storePath))) {
        records.touch(key);
        // The same tree may have another place in another project.
        return { tree: { ...known, place: plan.place }, cache: 'hit', keepHint: manager.keepHint };
      }
      const { value } = await flights.run(
        key,
        async (signal) => {
          const sandbox = {
            store,
            environment: request.environment,
            busybox: options.busybox,
            hostPath: options.hostPath,
          };
          const freeze: InstallOptions['freeze'] = (folder, name) => options.freeze(key, folder, name, signal);
          const how = { ...options, sandbox, freeze };
          const installed = await install(manager, plan, asked.target, how, { emit: context.emit, signal });
          const tree: LibraryTree = { manager: manager.name, key, ...installed, place: plan.place };
          records.save(tree);
          return tree;
        },
        context.signal,
      );
      return { tree: { ...value, place: plan.place }, cache: 'miss', keepHint: manager.keepHint };
    },
    async found(folder) {
      const names = new Set(await readdir(folder));
      const found: Record<string, string> = {};
      for (const manager of options.managers) {
        const name = manager.lockFiles.find((candidate) => names.has(candidate));
        if (name !== undefined) found[manager.name] = join(folder, name);
      }
      return found;
    },
  };
}

/** @returns where the lock's folder is in a berth: below /work as it is below the project */
function targetOf({ lockFile, project }: LibraryRequest): string {
  const below = relative(project, dirname(lockFile));
  return below.startsWith('..') ? '/work' : posix.join('/work', below);
}
