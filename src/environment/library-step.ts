/** The libraries that a config asks for: each lock file's tree, made unless it is there. */
import type { FoundTree, Libraries, LibraryTree } from '../libraries/libraries.ts';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { Environment } from './environment.ts';
import { inPhase } from './prepare.ts';
import type { LibrarySummary, StageCache, WorkContext } from './service.ts';

export interface PreparedLibraries {
  readonly trees: readonly LibraryTree[];
  readonly summaries: readonly LibrarySummary[];
  readonly cache: StageCache | 'none';
  /** Milliseconds. */
  readonly ms: number;
}

export interface LibraryStep {
  /**
   * @param project the project's folder
   * @throws BerthError LIBRARY_…, HASH_MISMATCH, REGISTRY_UNREACHABLE, REGISTRY_DENIED, DISK_FULL, CANCELLED
   */
  run(
    evaluated: EvaluatedConfig,
    environment: Environment,
    project: string,
    context: WorkContext,
  ): Promise<PreparedLibraries>;
}

/** Without libraries the step costs nothing and says nothing. */
const none: PreparedLibraries = { trees: [], summaries: [], cache: 'none', ms: 0 };

export function createLibraryStep(libraries: Libraries): LibraryStep {
  async function lockFilesOf(asked: EvaluatedConfig['libraries']): Promise<Readonly<Record<string, string>>> {
    const { auto, ...named } = asked;
    return auto === undefined ? named : { ...(await libraries.found(auto)), ...named };
  }

  return {
    async run(evaluated, environment, project, context) {
      if (Object.keys(evaluated.libraries).length === 0) return none;
      const made = async () => {
        const locks = Object.entries(await lockFilesOf(evaluated.libraries)).sort(([a], [b]) => (a < b ? -1 : 1));
        const found = await Promise.all(
          locks.map(([manager, lockFile]) => libraries.tree({ manager, lockFile, project, environment }, context)),
        );
        const cache: StageCache = found.every((one) => one.cache === 'hit') ? 'hit' : 'miss';
        return { trees: found.map(({ tree }) => tree), summaries: found.map(summaryOf), cache };
      };
      const { value, ms } = await inPhase('libraries', context.emit, made, ({ cache }) => cache);
      return { ...value, ms };
    },
  };
}

function summaryOf({ tree, cache, keepHint }: FoundTree): LibrarySummary {
  const { manager, storePath, packages, place } = tree;
  return {
    manager,
    cache,
    packages: packages.length,
    storePath,
    folders: place.mounts.map(({ target }) => target),
    keepHint,
  };
}
