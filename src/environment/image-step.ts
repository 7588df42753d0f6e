/**
 * Key 4, the image: the same closure with the same settings is the same image, which is looked up before any layer is
 * made. What is made is recorded once all of it is there.
 */
import { digestOfJson } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { SingleFlight } from '../core/single-flight.ts';
import type { MinimalImage } from '../engine/minimal-image/minimal-image.ts';
import {
  type EnvironmentImageSettings,
  imageKey,
  imageOfEnvironment,
  type ImageContent,
  type ImageMakerOptions,
} from '../materialise/image.ts';
import { libraryLinks, libraryVariables, type PlacedTree } from '../materialise/library-mounts.ts';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import { type Image, imageOfDocuments } from '../oci/image.ts';
import { orderFor } from '../oci/layers/orders/order-for.ts';
import type { Compression } from '../oci/media-types.ts';
import type { LayerWriter } from '../oci/layer/layer-writer.ts';
import type { Document } from '../oci/model.ts';
import type { LockedSource } from '../sources/source.ts';
import type { Environment } from './environment.ts';
import type { ImageRecord, ImageRecords } from './image-records.ts';
import type { StageCache, WorkContext } from './service.ts';

export interface ImageStepOptions extends ImageMakerOptions {
  readonly records: ImageRecords;
  /** The minimal image for a system (`x86_64-linux`), with the busybox of one of the sources where one has it. */
  readonly baseFor: (system: string, sources: readonly LockedSource[], context: WorkContext) => Promise<MinimalImage>;
  /** Whether a blob is kept, whole. */
  readonly hasBlob: (digest: ImageRecord['digest'], size: number) => Promise<boolean>;
}

/** What an image is to be made of. */
export interface ImageRequest {
  readonly environment: Environment;
  readonly evaluated: EvaluatedConfig;
  readonly sources: Readonly<Record<string, LockedSource>>;
  /** Nix's name of the system. */
  readonly system: string;
  readonly compression: Compression;
  /** Trees of libraries of programming languages. */
  readonly libraries: readonly PlacedTree[];
}

export interface ImageStep {
  run(request: ImageRequest, context: WorkContext): Promise<{ readonly image: Image; readonly cache: StageCache }>;
  /** @returns why the image would be there already, or what would be made; makes nothing */
  known(request: ImageRequest, context: WorkContext): Promise<ImageRecord | undefined>;
}

const architectures: Readonly<Record<string, string>> = {
  'x86_64-linux': 'amd64',
  'aarch64-linux': 'arm64',
};

/** @returns OCI's name of a system's architecture */
export function architectureOf(system: string): string {
  const architecture = architectures[system];
  if (architecture !== undefined) return architecture;
  throw new BerthError('MODE_UNSUPPORTED', `Berth makes no images for ${system}.`);
}

/**
 * @returns Nix's name of a platform
 * @throws BerthError REQUEST_INVALID for one that Berth makes no images for
 */
export function systemOf(platform: string): string {
  const found = Object.entries(architectures).find(([, architecture]) => platform === `linux/${architecture}`);
  if (found) return found[0];
  throw new BerthError('REQUEST_INVALID', `\`${platform}\` is no platform that Berth makes images for.`, {
    hint: 'Use linux/amd64, linux/arm64, or both with a comma between.',
  });
}

export function createImageStep(options: ImageStepOptions): ImageStep {
  const { records, writer } = options;
  const flights = new SingleFlight<string, { image: Image; cache: StageCache }>();

  async function subject(request: ImageRequest, context: WorkContext) {
    const { environment, evaluated, sources, libraries } = request;
    const locked = Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1));
    const content: ImageContent = {
      variables: { ...environment.variables, ...libraryVariables(libraries, environment.variables) },
      shellHook: environment.shellHook,
      functions: environment.functions,
      fhs: environment.fhs,
      command: environment.command,
      ports: environment.ports,
      paths: [...new Set([...environment.closure.paths, ...libraries.map(({ storePath }) => storePath)])].sort(),
      links: libraryLinks(libraries),
    };
    const settings: EnvironmentImageSettings = {
      architecture: architectureOf(request.system),
      compression: request.compression,
      configDigest: meaningDigest(evaluated),
      sourceRevision: locked.map(([, { label }]) => label).join(', '),
    };
    const kinds = evaluated.packages.map(({ source }) => source);
    const order = orderFor(kinds.includes('debian') ? 'debian' : (kinds[0] ?? locked[0]?.[1].kind ?? ''));
    const base = await options.baseFor(
      request.system,
      locked.map(([, source]) => source),
      context,
    );
    return { content, settings, base, order, key: imageKey(content, settings, base, order) };
  }

  /** @returns the image of a record while the blobs are there that nothing else could give */
  async function recorded(record: ImageRecord | undefined): Promise<Image | undefined> {
    if (!record) return undefined;
    for (const { record: layer, paths } of record.layers) {
      if (paths === null && !(await options.hasBlob(layer.descriptor.digest, layer.descriptor.size))) return undefined;
    }
    return imageOfRecord(record, writer);
  }

  return {
    async known(request, context) {
      const record = records.find((await subject(request, context)).key);
      return (await recorded(record)) && record;
    },
    async run(request, context) {
      const { content, settings, base, order, key } = await subject(request, context);
      const { value } = await flights.run(
        key,
        async (signal) => {
          const known = await recorded(records.find(key));
          if (known) {
            records.touch(key);
            return { image: known, cache: 'hit' as const };
          }
          const flight = { emit: context.emit, signal };
          const { image, closureLayers } = await imageOfEnvironment(content, settings, base, order, options, flight);
          records.save(key, recordOf(image, closureLayers));
          return { image, cache: 'miss' as const };
        },
        context.signal,
      );
      return value;
    },
  };
}

/** Over what the config says: neither its text nor the order of its packages counts, nor which derivation it came to. */
function meaningDigest({ packages, shellHook, command, ports, libraries }: EvaluatedConfig) {
  const names = packages.map(({ name, version, source }) => `${source} ${name} ${version}`).sort();
  return digestOfJson({ packages: names, shellHook, command, ports, libraries: Object.keys(libraries).sort() });
}

/** @returns the recorded image; its bytes are read when they are asked for */
export function imageOfRecord(record: ImageRecord, writer: LayerWriter): Image {
  const layers = record.layers.map(({ record: layer, paths }) =>
    writer.remembered(layer, paths === null ? { tree: () => treeIsGone(record) } : { paths }),
  );
  return imageOfDocuments(record.manifest, record.config, layers, record.architecture);
}

function treeIsGone({ digest }: ImageRecord): never {
  throw new BerthError('LAYER_UNREADABLE', `A layer of the image ${digest} is not kept any more.`, {
    hint: 'Build the image again with `berth build`.',
  });
}

function recordOf(image: Image, closureLayers: readonly (readonly string[])[]): ImageRecord {
  const text = ({ bytes }: Document) => Buffer.from(bytes).toString('utf8');
  return {
    digest: image.manifest.descriptor.digest,
    manifest: text(image.manifest),
    config: text(image.config),
    architecture: image.platform.architecture,
    layers: image.layers.map(({ descriptor, diffId, tarSize }, at) => ({
      record: { descriptor, diffId, tarSize: tarSize ?? descriptor.size },
      paths: at === 0 || at > closureLayers.length ? null : (closureLayers[at - 1] ?? null),
    })),
  };
}
