/** The wiring of images that are built when they are pulled. */
import { join } from 'node:path';
import type { Emit } from '../core/events.ts';
import { createEvaluateNames, type EvaluateNamesOptions } from '../environment/evaluate-names.ts';
import { createNamedImage, type NamedImageOptions } from '../environment/named-image.ts';
import type { SourceKeeper } from '../environment/source-keeper.ts';
import type { PackageLocks } from '../environment/package-locks.ts';
import { hostSystem } from '../nix/evaluate.ts';
import type { Registry } from '../registry/registry.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import { type BuildOnPull, createBuildOnPull } from './build-on-pull.ts';
import type { Settings } from './settings.ts';

export interface BuildOnPullParts extends Pick<NamedImageOptions, 'build' | 'guard' | 'step'> {
  readonly evaluator: EvaluateNamesOptions['nix'];
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  readonly packages: Pick<PackageLocks, 'resolve'>;
  readonly sourceKeeper: SourceKeeper;
  readonly registry: Registry;
  readonly emit: Emit;
  readonly beginWork?: () => () => void;
}

export function composeBuildOnPull(settings: Settings, parts: BuildOnPullParts): BuildOnPull {
  const { sources, packages, sourceKeeper, registry, build, guard, step, emit } = parts;
  const kind = settings.source;
  const system = hostSystem();
  const evaluateNames = createEvaluateNames({
    nix: parts.evaluator,
    sources,
    packages,
    evaluator: { system, allowUnfree: settings.allowUnfree },
    folder: join(settings.home, 'tmp'),
  });
  return createBuildOnPull({
    image: createNamedImage({
      source: sources[kind],
      fallback: () => sourceKeeper.newest(kind),
      evaluateNames,
      build,
      step,
      guard,
      keep: async (locked, context) => {
        const { storePaths } = await sources[locked.kind].prepare(locked, context);
        await sourceKeeper.keep({ locked, storePaths }, undefined);
      },
      system,
      compression: settings['image.compression'],
    }),
    putImage: (...image) => registry.putImage(...image),
    exists: (repository) => registry.manifests.tags(repository, { limit: 1 }) !== undefined,
    system,
    waitMs: settings['registry.waitMs'],
    emit,
    beginWork: parts.beginWork ?? (() => () => undefined),
  });
}
