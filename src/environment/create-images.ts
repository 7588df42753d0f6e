/** Builds images: the environment of each platform is made ready, becomes an image, and goes to each target. */
import { basename } from 'node:path';
import { stopwatch } from '../core/clock.ts';
import { BerthError } from '../core/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { type ImageTarget, parseImageTarget, writeImageFile } from '../materialise/image-target.ts';
import { type Image, type MultiPlatformImage, multiPlatformImageOf, rootOf } from '../oci/image.ts';
import type { Compression } from '../oci/media-types.ts';
import type { AttachmentTarget } from '../oci/attest/attachment-target.ts';
import type { Attestations, AttestStep } from './attest-step.ts';
import type { GarbageGuard } from './garbage-guard.ts';
import { type ImageStep, systemOf } from './image-step.ts';
import type { BuildImageRequest, BuildImageResult, BuiltPlatform, ImageService, WrittenImage } from './images.ts';
import type { LibraryStep } from './library-step.ts';
import { inPhase, type Prepared } from './prepare.ts';
import type { CacheReport, EnvironmentRequest, StageCache, WorkContext } from './service.ts';
import type { SourceLocks } from './source-locks.ts';

/** What moved on the way to an engine or a registry. */
export type Moved = Omit<WrittenImage, 'target' | 'reference'>;

export interface ImagesOptions {
  readonly prepare: (request: EnvironmentRequest, context: WorkContext) => Promise<Prepared>;
  readonly locks: SourceLocks;
  readonly step: ImageStep;
  readonly libraries: LibraryStep;
  readonly guard: GarbageGuard;
  readonly engines: readonly Engine[];
  /** This machine's, as Nix says it. */
  readonly system: string;
  /** The setting `image.compression`. */
  readonly compression: Compression;
  /** Pushes to a registry. @throws BerthError REFERENCE_INVALID before anything moves, and what the registry says */
  readonly push: (
    image: Image | MultiPlatformImage,
    reference: string,
    context: WorkContext,
  ) => Promise<Moved & Pick<WrittenImage, 'reference'>>;
  readonly attest: AttestStep;
  /** @returns where attestations of an image at the target are kept, or undefined for a place that keeps none */
  readonly beside: (target: ImageTarget, name: string) => AttachmentTarget | undefined;
  /** @throws BerthError REFERENCE_INVALID */
  readonly checkReference: (reference: string) => void;
}

interface PlatformImage {
  readonly platform: string;
  readonly prepared: Prepared;
  readonly sources: ReturnType<SourceLocks['read']>;
  readonly image: Image;
  readonly cache: CacheReport;
  readonly ms: number;
}

export function createImages(options: ImagesOptions): ImageService {
  const { guard, step } = options;

  async function make(
    request: BuildImageRequest,
    system: string,
    compression: Compression,
    context: WorkContext,
  ): Promise<PlatformImage> {
    const { path, passEnv } = request;
    const prepared = await options.prepare({ path, ...(passEnv ? { passEnv } : {}), system }, context);
    const sources = options.locks.read(prepared.config, system);
    const libraries = await librariesOf(prepared, system, context);
    const { value, ms } = await inPhase(
      'materialise',
      context.emit,
      () =>
        step.run(
          {
            environment: prepared.environment,
            evaluated: prepared.evaluated,
            libraries,
            sources,
            system,
            compression,
          },
          context,
        ),
      ({ cache }) => cache,
    );
    const { image, cache } = value;
    const platform = `${image.platform.os}/${image.platform.architecture}`;
    return { platform, prepared, sources, image, cache: { ...prepared.cache, image: cache }, ms };
  }

  /** Their managers run here, so they are for this machine only. */
  async function librariesOf({ config, evaluated, environment }: Prepared, system: string, context: WorkContext) {
    if (system !== options.system && Object.keys(evaluated.libraries).length > 0) {
      throw new BerthError('LIBRARY_PLATFORM', `Libraries for ${system} cannot be installed on ${options.system}.`, {
        hint: 'Build the image on a machine of that platform.',
      });
    }
    return (await options.libraries.run(evaluated, environment, config.directory, context)).trees;
  }

  async function ship(
    target: ImageTarget,
    text: string,
    image: Image | MultiPlatformImage,
    tag: string,
    context: WorkContext,
  ): Promise<WrittenImage> {
    switch (target.kind) {
      case 'docker':
      case 'embedded': {
        const engine = options.engines.find(({ name }) => name === target.kind);
        const [own] = rootOf(image).images.filter(({ platform }) => isOwn(platform.architecture, options.system));
        if (!engine || !own) {
          throw new BerthError('MODE_UNSUPPORTED', `Engine ${target.kind} takes images for this machine only.`);
        }
        const { available, reason } = await engine.available(context.signal);
        if (!available) throw new BerthError('ENGINE_UNAVAILABLE', `Engine ${target.kind}: ${reason}`);
        const moved = await engine.loadImage(own, {
          ...contextOf(context),
          ...(target.kind === 'docker' ? { tag } : {}),
        });
        return { target: text, reference: target.kind === 'docker' ? tag : null, ...moved };
      }
      case 'registry':
        return { target: text, ...(await options.push(image, target.reference, context)) };
      case 'oci':
      case 'oci-archive':
      case 'docker-archive': {
        const movedBytes = await writeImageFile(target, image, { tag, ...contextOf(context) });
        const layers = new Set(
          rootOf(image).images.flatMap((one) => one.layers.map(({ descriptor }) => descriptor.digest)),
        );
        return { target: text, reference: tag, movedBytes, movedLayers: layers.size, keptLayers: 0, how: 'written' };
      }
    }
  }

  return {
    build: (request, context) =>
      guard.using(async () => {
        const total = stopwatch();
        // What can't be is refused before anything is done.
        const targets = (request.to ?? []).map((text) => ({ text, target: parseImageTarget(text) }));
        const systems = [...new Set((request.platforms ?? []).map(systemOf))];
        const compression = request.compression ?? defaultCompression(targets, options.compression);
        checkFits(targets, systems);
        for (const { target } of targets) if (target.kind === 'registry') options.checkReference(target.reference);
        checkAttestable(request, targets, options.beside);
        const key = request.sign === undefined ? undefined : await options.attest.key(request.sign);
        if (request.withNix) throw new BerthError('MODE_UNSUPPORTED', 'Nix within a container needs mode shell.');

        const made: PlatformImage[] = [];
        for (const system of systems.length > 0 ? systems : [options.system]) {
          made.push(await make(request, system, compression, context));
        }
        const [first] = made;
        if (!first) throw new BerthError('INTERNAL', 'No platform was built.');
        const image = made.length === 1 ? first.image : multiPlatformImageOf(made.map((one) => one.image));
        const tag = request.tag ?? `${nameOf(first.prepared)}:latest`;
        const shipped = await inPhase('ship', context.emit, async () => {
          const written: WrittenImage[] = [];
          for (const { text, target } of targets) {
            const shipped = await ship(target, text, image, tag, context);
            const place = isWanted(request) ? options.beside(target, repositoryOf(tag)) : undefined;
            if (!place) {
              written.push(shipped);
              continue;
            }
            const { descriptor } = rootOf(image).root;
            const named = made.map((one) => ({ ...one, name: repositoryOf(tag) }));
            const attached = await options.attest.run(request, key, place, descriptor, named, context.signal);
            written.push({ ...shipped, attached });
          }
          return written;
        });
        const sum = (of: (one: PlatformImage) => number) => made.reduce((all, one) => all + of(one), 0);
        const { environment } = first.prepared;
        return {
          imageDigest: rootOf(image).root.descriptor.digest,
          configDigest: first.prepared.configDigest,
          environmentDigest: environment.digest,
          closure: { paths: environment.closure.paths.length, bytes: environment.closure.bytes },
          cache: worst(made.map(({ cache }) => cache)),
          compression,
          platforms: made.map(builtPlatform),
          written: shipped.value,
          timingsMs: {
            read: sum(({ prepared }) => prepared.timingsMs.read),
            evaluate: sum(({ prepared }) => prepared.timingsMs.evaluate),
            build: sum(({ prepared }) => prepared.timingsMs.build),
            materialise: sum(({ ms }) => ms),
            ship: shipped.ms,
            total: total(),
          },
        } satisfies BuildImageResult;
      }),
  };
}

function builtPlatform({ platform, image, prepared, cache }: PlatformImage): BuiltPlatform {
  const { environment } = prepared;
  return {
    platform,
    imageDigest: image.manifest.descriptor.digest,
    environmentDigest: environment.digest,
    closure: { paths: environment.closure.paths.length, bytes: environment.closure.bytes },
    cache,
    layers: image.layers.length,
    bytes: image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
  };
}

interface NamedTarget {
  readonly text: string;
  readonly target: ImageTarget;
}

/** Nothing is gained by packing what does not leave the host. */
function defaultCompression(targets: readonly NamedTarget[], setting: Compression): Compression {
  const stays = ({ target }: NamedTarget) => target.kind === 'docker' || target.kind === 'embedded';
  return targets.length > 0 && targets.every(stays) ? 'none' : setting;
}

function checkFits(targets: readonly NamedTarget[], systems: readonly string[]): void {
  const single = targets.find(({ target }) => target.kind === 'docker-archive');
  if (single && systems.length > 1) {
    throw new BerthError('REQUEST_INVALID', 'A docker-archive holds one platform: name one, or use oci-archive.');
  }
}

function isWanted({ sbom, provenance, sign }: Attestations): boolean {
  return sbom === true || provenance === true || sign !== undefined;
}

/** What is said of an image is kept beside it, which an engine or a single file has no place for. */
function checkAttestable(wanted: Attestations, targets: readonly NamedTarget[], beside: ImagesOptions['beside']): void {
  if (!isWanted(wanted)) return;
  const without = targets.find(({ target }) => beside(target, 'image') === undefined);
  if (!without && targets.length > 0) return;
  throw new BerthError(
    'REQUEST_INVALID',
    `An SBOM, provenance or signature is kept beside an image${without ? `, and ${without.text} has no place for it` : ''}.`,
    { hint: 'Use --to registry:REFERENCE or --to oci:FOLDER.' },
  );
}

/** `NAME` of `NAME:TAG`. */
function repositoryOf(tag: string): string {
  return tag.replace(/:[^:/]*$/, '');
}

function isOwn(architecture: string, system: string): boolean {
  return systemOf(`linux/${architecture}`) === system;
}

function worst(reports: readonly CacheReport[]): CacheReport {
  const of = (values: readonly (StageCache | 'none')[]) =>
    values.includes('miss') ? 'miss' : values.includes('hit') ? 'hit' : 'none';
  return {
    environment: reports.some(({ environment }) => environment === 'miss') ? 'miss' : 'hit',
    build: of(reports.map(({ build }) => build)),
    image: of(reports.map(({ image }) => image)),
  };
}

/** The folder's name, as far as a repository may have it. */
function nameOf({ config }: Prepared): string {
  const name = basename(config.directory)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return name === '' ? 'berth' : name;
}

function contextOf({ emit, signal }: WorkContext) {
  return { emit, ...(signal ? { signal } : {}) };
}
