/**
 * What a list of names means, without a config: the registry's images are named by their packages. The names become a config
 * of their own, so that the same rules, limits and errors hold; of a list of plain names nothing is evaluated.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { lockedPackageKey } from '../config/lock.ts';
import { BerthError } from '../core/errors.ts';
import type { Nix } from '../nix/nix.ts';
import type { LockedSource, PreparedSource, Source } from '../sources/source.ts';
import { versionQuery } from '../sources/versions/version-query.ts';
import { splitVersion, type PackageLocks, type ResolvedPackage } from './package-locks.ts';
import type { Evaluated } from './prepare.ts';
import type { WorkContext } from './service.ts';
import type { EvaluatorIdentity } from './subject.ts';

export interface EvaluateNamesOptions {
  /** As create-service's: the evaluator that need not run. */
  readonly nix: Pick<Nix, 'evaluate'>;
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  /** Finds versions of `nodejs@18`; without it such names are refused. */
  readonly packages?: Pick<PackageLocks, 'resolve'>;
  readonly evaluator: Pick<EvaluatorIdentity, 'system' | 'allowUnfree'>;
  /** For configs that live as long as one evaluation. */
  readonly folder: string;
}

/**
 * @param names as a config writes them after `pkgs.`, in any order: `git`, `g++`, `python3Packages.pip`; with a version or
 *   range: `nodejs@18`
 * @param locked the revision of the source that has them
 * @throws BerthError UNKNOWN_PACKAGE, and whatever a config of these packages is at fault for
 */
export type EvaluateNames = (
  names: readonly string[],
  locked: LockedSource,
  context: WorkContext,
) => Promise<Evaluated>;

export function createEvaluateNames(options: EvaluateNamesOptions): EvaluateNames {
  async function resolveVersions(
    names: readonly string[],
    locked: LockedSource,
    context: WorkContext,
  ): Promise<ResolvedPackage[]> {
    const wanted = names.flatMap((name) => splitVersion(name) ?? []).map((it) => ({ kind: 'at' as const, ...it }));
    return wanted.length > 0 && options.packages ? options.packages.resolve(locked, wanted, context) : [];
  }

  return async (names, locked, context) => {
    const asked = [...new Set(names)].sort();
    const elements = asked.map((name) => elementOf(name, locked.kind));
    const resolved = await resolveVersions(asked, locked, context);
    const sources: Record<string, PreparedSource> = {
      pkgs: await options.sources[locked.kind].prepare(locked, context),
    };
    for (const { source } of resolved) {
      if (source) sources[source.name] ??= await options.sources[source.locked.kind].prepare(source.locked, context);
    }
    await context.hold?.begin(context.signal);
    await mkdir(options.folder, { recursive: true });
    const directory = await mkdtemp(join(options.folder, 'names-'));
    try {
      const file = join(directory, 'config.nix');
      await writeFile(
        file,
        `{ pkgs, ${resolved.length > 0 ? 'at, ' : ''}... }: { packages = [ ${elements.join(' ')} ]; }\n`,
      );
      const evaluation = await options.nix.evaluate(
        {
          config: { file, directory, shape: 'nix' },
          sources,
          packages: Object.fromEntries(resolved.map((one) => [lockedPackageKey(one.locked), one.locked])),
          defaultSource: 'pkgs',
          ...options.evaluator,
        },
        context.signal,
      );
      if (!evaluation.ok) throw withoutPlace(evaluation.error);
      return { config: evaluation.result, sources: [locked.kind], cache: 'miss' };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
}

/** @throws BerthError UNKNOWN_PACKAGE, VERSION_INVALID for what can be no name: it never becomes Nix code */
function elementOf(name: string, kind: LockedSource['kind']): string {
  const versioned = splitVersion(name);
  if (versioned && isName(versioned.name)) {
    // Throws for what is no version: neither becomes Nix code.
    versionQuery(versioned.wanted);
    return `(at "${versioned.name}" "${versioned.wanted}")`;
  }
  if (!isName(name)) {
    throw new BerthError('UNKNOWN_PACKAGE', `\`${name}\` is no name of a package.`, { details: { name } });
  }
  // Debian's names hold dots; in nixpkgs dots part sets.
  const parts = kind === 'debian' ? [name] : name.split('.');
  return `pkgs.${parts.map((part) => `"${part}"`).join('.')}`;
}

function isName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9+._-]*$/.test(text);
}

/** The place is in a config that nobody wrote. */
function withoutPlace(error: BerthError): BerthError {
  return new BerthError(error.code, error.message, {
    hint: error.hint,
    ...(error.details === undefined ? {} : { details: error.details }),
    cause: error,
  });
}
