/**
 * Mode `image`: an environment as an OCI image. From the bottom up: the minimal image, the closure in layers by the
 * canonical rule, and a small layer with what the agent reads. The agent is the entrypoint, so that `docker run IMAGE CMD`
 * runs CMD as `berth run` would.
 */
import { digestOfJson, type Digest } from '../core/digest.ts';
import type { Emit } from '../core/events.ts';
import type { MinimalImage } from '../engine/minimal-image/minimal-image.ts';
import type { Store } from '../nix/store.ts';
import { type Image, imageOf } from '../oci/image.ts';
import { type ImageSettings, labels } from '../oci/image-config.ts';
import type { Layer } from '../oci/layer/layer.ts';
import { layerWriterVersion } from '../oci/layer/layer.ts';
import type { LayerWriter } from '../oci/layer/layer-writer.ts';
import { canonicalRule } from '../oci/layers/canonical.ts';
import type { CanonicalOrder } from '../oci/layers/canonical-order.ts';
import type { Layers } from '../oci/layers/closure-graph.ts';
import type { Compression } from '../oci/media-types.ts';
import { baseTree, environmentTree } from './image-files.ts';
import type { BerthContent } from './generation.ts';
import { projectTarget } from './shared-store.ts';

/** What an image needs of an environment. */
export interface ImageContent extends BerthContent {
  readonly ports: readonly number[];
  /** The store paths of the closure and of libraries, sorted. */
  readonly paths: readonly string[];
  /** Symbolic links besides: path in the image to where it leads. */
  readonly links?: Readonly<Record<string, string>>;
}

export interface EnvironmentImageSettings {
  /** OCI's name of the architecture. */
  readonly architecture: string;
  readonly compression: Compression;
  /** Over what the config says, not over its text. */
  readonly configDigest: Digest;
  /** What the sources are locked to: `bookworm 2026-07-11`. */
  readonly sourceRevision: string;
}

export interface ImageMakerOptions {
  readonly store: Store;
  readonly writer: LayerWriter;
  /** NAR sizes in bytes of store paths. */
  readonly sizesOf: (paths: readonly string[]) => Promise<ReadonlyMap<string, number>>;
}

/** Docker takes at most 125, and other layers may be put above an image. */
export const maxLayers = 100;
const ownLayers = 2;
/**
 * How many layers are written at once: one is read and hashed while another waits for the disk. Packing uses all cores by
 * itself, and each layer under way takes memory: see bench/image-memory.ts.
 */
export function layersAtOnce(compression: Compression): number {
  return compression === 'none' ? 3 : 2;
}
/** Raised when the same environment gives other bytes for a reason that nothing else in the key says. */
const imageFormat = 1;

const entrypoint = ['/berth/bin/agent', '--foreground'];
/** As the agent completes it, for commands that are run beside it: `docker exec`. */
const fallbackPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/berth/fhs/usr/bin';

/** Key 4: equal for equal closures and settings, whatever derivation or config they came from. */
export function imageKey(
  content: ImageContent,
  settings: EnvironmentImageSettings,
  base: Pick<MinimalImage, 'digest'>,
  order: CanonicalOrder,
): Digest {
  const { links = {}, ...rest } = content;
  return digestOfJson({
    format: imageFormat,
    layerWriter: layerWriterVersion,
    content: Object.keys(links).length === 0 ? rest : content,
    settings,
    base: base.digest,
    order: [order.name, order.version],
    maxLayers,
  });
}

export function closureDigest(paths: readonly string[]): Digest {
  return digestOfJson([...paths].sort());
}

/** An image and what its layers are made of, so that their bytes can be had again. */
export interface MadeImage {
  readonly image: Image;
  /** Store paths of the closure's layers, from the bottom up; the first and the last layer are trees. */
  readonly closureLayers: Layers;
}

/**
 * Makes the image; layers that were ever written are not read again.
 * @throws BerthError LAYER_UNREADABLE, CANCELLED
 */
export async function imageOfEnvironment(
  content: ImageContent,
  settings: EnvironmentImageSettings,
  base: MinimalImage,
  order: CanonicalOrder,
  options: ImageMakerOptions,
  { emit, signal }: { readonly emit: Emit; readonly signal?: AbortSignal },
): Promise<MadeImage> {
  const { writer, store } = options;
  const sizes = await options.sizesOf(content.paths);
  const graph = content.paths.map((path) => ({ path, narSize: sizes.get(path) ?? 0, references: [] }));
  const closureLayers = canonicalRule(order)({ roots: [], paths: graph }, maxLayers - ownLayers);
  const sizeOf = (paths: readonly string[]) => paths.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
  const total = sizeOf(content.paths);
  let done = 0;
  const middle = await inTurn(layersAtOnce(settings.compression), closureLayers, async (paths) => {
    const layer = await writer.storeLayer(paths, settings.compression, signal);
    done += sizeOf(paths);
    emit({ type: 'progress', phase: 'materialise', unit: 'bytes', done, total });
    return layer;
  });
  const bottom = await writer.treeLayer(baseTree(base), settings.compression, signal);
  const top = await writer.treeLayer(await environmentTree(store, content, base), settings.compression, signal);
  return { image: assemble([bottom, ...middle, top], content, settings), closureLayers };
}

/** @returns the image of layers that are there already */
export function assemble(
  layers: readonly Layer[],
  content: Omit<ImageContent, 'shellHook' | 'functions' | 'fhs'>,
  settings: EnvironmentImageSettings,
): Image {
  const path = content.variables['PATH'];
  const config: ImageSettings = {
    architecture: settings.architecture,
    env: { ...content.variables, PATH: completePath(path ?? '') },
    entrypoint,
    ...(content.command ? { command: content.command } : {}),
    workingDirectory: projectTarget,
    ports: content.ports,
    labels: {
      [labels.configDigest]: settings.configDigest,
      [labels.closureDigest]: closureDigest(content.paths),
      ...(settings.sourceRevision === '' ? {} : { [labels.sourceRevision]: settings.sourceRevision }),
    },
  };
  return imageOf(layers, config);
}

function completePath(own: string): string {
  const folders = own.split(':').filter((folder) => folder !== '');
  return [...folders, ...fallbackPath.split(':').filter((folder) => !folders.includes(folder))].join(':');
}

/** Works on all, some at a time, and gives the results in order. The first failure ends it. */
async function inTurn<In, Out>(atOnce: number, items: readonly In[], work: (item: In) => Promise<Out>): Promise<Out[]> {
  const results: Out[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at] as In);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
