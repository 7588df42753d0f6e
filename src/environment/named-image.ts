/** The image of a list of packages: evaluated without a config, built and packed as any other. */
import { BerthError } from '../core/errors.ts';
import type { Image } from '../oci/image.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import type { BuildStep } from './build-step.ts';
import type { EvaluateNames } from './evaluate-names.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import type { ImageRequest, ImageStep } from './image-step.ts';
import type { WorkContext } from './service.ts';
import { unknownPackageHint } from './source-locks.ts';

export interface NamedImageOptions {
  readonly source: Source;
  /** A revision that is in the store already, for when upstream can't be reached. */
  readonly fallback: () => LockedSource | undefined;
  readonly evaluateNames: EvaluateNames;
  readonly build: Pick<BuildStep, 'run'>;
  readonly step: Pick<ImageStep, 'run'>;
  readonly guard: GarbageGuard;
  /** Keeps the source's paths in the store. */
  readonly keep: (locked: LockedSource, context: WorkContext) => Promise<void>;
  readonly system: string;
  readonly compression: ImageRequest['compression'];
}

/**
 * @param packages sorted; `git`, `nodejs@18`
 * @param tag `latest`, or what chooses a revision of the source: a suite of Debian, a commit of nixpkgs
 * @throws BerthError UNKNOWN_PACKAGE with the nearest names, SUITE_UNKNOWN, and what the build is at fault for
 */
export type NamedImage = (packages: readonly string[], tag: string, context: WorkContext) => Promise<Image>;

export function createNamedImage(options: NamedImageOptions): NamedImage {
  const { source, guard } = options;

  async function lockFor(tag: string, context: WorkContext): Promise<LockedSource> {
    const request = revisionOf(source.kind, tag);
    return source.lock(request, context).catch((error: unknown) => {
      const fallback = tag === 'latest' ? options.fallback() : undefined;
      if (!(error instanceof BerthError) || error.code !== 'MIRROR_UNREACHABLE' || !fallback) throw error;
      return fallback;
    });
  }

  /** Told by the index alone, before anything is evaluated. Names with a version have a look-up of their own. */
  async function requireAll(locked: LockedSource, packages: readonly string[], context: WorkContext): Promise<void> {
    for (const name of packages) {
      if (name.includes('@') || (await source.has(locked, name, context))) continue;
      const nearest = await source.nearest(locked, name, context);
      throw new BerthError('UNKNOWN_PACKAGE', `There is no package \`${name}\` in ${locked.label}.`, {
        hint: unknownPackageHint(name, nearest),
        details: { name, nearest },
      });
    }
  }

  return (packages, tag, outer) =>
    guard.using(async () => {
      const hold = guard.hold();
      const context = { ...outer, hold };
      try {
        const locked = await lockFor(tag, context);
        await requireAll(locked, packages, context);
        await options.keep(locked, context);
        const evaluated = await options.evaluateNames(packages, locked, context);
        const { environment } = await options.build.run(evaluated, context);
        const { system, compression } = options;
        const { image } = await options.step.run(
          { environment, evaluated: evaluated.config, sources: { pkgs: locked }, system, compression, libraries: [] },
          context,
        );
        return image;
      } finally {
        hold.end();
      }
    });
}

/** @throws BerthError IMAGE_NAME_INVALID for a tag that chooses nothing */
function revisionOf(kind: LockedSource['kind'], tag: string): Record<string, string> {
  if (tag === 'latest') return {};
  if (kind === 'debian' && /^[a-z][a-z0-9-]*$/.test(tag)) return { suite: tag };
  if (kind === 'nixpkgs' && /^[0-9a-f]{40}$/.test(tag)) return { rev: tag };
  throw new BerthError('IMAGE_NAME_INVALID', `The tag \`${tag}\` chooses no revision of ${kind}.`);
}
