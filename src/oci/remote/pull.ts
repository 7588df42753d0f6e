/** Pulls images: documents at once, layers when they are opened. */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { type Emit, silent } from '../../core/events.ts';
import { chainIds } from '../chain-id.ts';
import type { Image } from '../image.ts';
import type { Layer } from '../layer/layer.ts';
import { compressionOf } from '../media-types.ts';
import {
  type Descriptor,
  type Document,
  imageConfigSchema,
  type Index,
  parseDocument,
  parseManifestOrIndex,
  type Platform,
} from '../model.ts';
import type { RegistryClient, Repository } from './client.ts';
import { readBlob } from './read-blob.ts';
import { formatReference, type ImageReference } from './reference.ts';

export interface PullContext {
  /** Default: linux on this machine's architecture. */
  readonly platform?: Platform;
  readonly emit?: Emit;
  readonly signal?: AbortSignal;
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
/** An index may point at indexes; deeper than this is a game. */
const maxDepth = 3;
/** A config is a document in memory. */
const maxConfigBytes = 16 * 1024 * 1024;

/** @returns the platform of images that run here: linux and OCI's name of this machine's architecture */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch };
}

/**
 * @returns the image of one platform; its layers are read from the registry when they are opened, resumed where the
 *   connection breaks, and end with an error when their bytes are not those of their digest
 * @throws BerthError IMAGE_NOT_FOUND, IMAGE_INVALID, HASH_MISMATCH, REGISTRY_DENIED, REGISTRY_UNREACHABLE,
 *   REGISTRY_REFUSED, CANCELLED
 */
export async function pullImage(
  client: RegistryClient,
  reference: ImageReference,
  context: PullContext = {},
): Promise<Image> {
  const { signal } = context;
  const what = `the manifest of ${formatReference(reference)}`;
  const document = await manifestFor(client, reference, context.platform ?? hostPlatform(), what, 0, signal);
  const read = parseManifestOrIndex(document.bytes, what);
  if (!('manifest' in read)) throw new BerthError('IMAGE_INVALID', `${formatReference(reference)} has no manifest.`);
  const config = await readDocument(client, reference, read.manifest.config, signal);
  const settings = parseDocument(imageConfigSchema, config.bytes, `the config of ${formatReference(reference)}`);
  const diffIds = settings.rootfs.diff_ids;
  if (diffIds.length !== read.manifest.layers.length) {
    throw new BerthError(
      'IMAGE_INVALID',
      `${formatReference(reference)} has ${read.manifest.layers.length} layers, and ${diffIds.length} in its config.`,
    );
  }
  const progress = pullProgress(read.manifest.layers, context.emit ?? silent, formatReference(reference));
  return {
    manifest: document,
    config,
    layers: read.manifest.layers.map((descriptor, index) =>
      remoteLayer(client, reference, descriptor, diffIds[index] as Digest, progress),
    ),
    chainIds: chainIds(diffIds),
    platform: {
      os: settings.os,
      architecture: settings.architecture,
      ...(settings.variant === undefined ? {} : { variant: settings.variant }),
    },
  };
}

/**
 * @returns what a tag points at now: the reference with its digest
 * @throws BerthError IMAGE_NOT_FOUND when there is no such tag, and as RegistryClient.head
 */
export async function resolveReference(
  client: RegistryClient,
  reference: ImageReference,
  signal?: AbortSignal,
): Promise<ImageReference & { readonly digest: Digest }> {
  const found = await client.head(reference, signal);
  if (found) return { ...reference, digest: found.digest };
  throw new BerthError('IMAGE_NOT_FOUND', `There is no ${formatReference(reference)}.`);
}

async function manifestFor(
  client: RegistryClient,
  reference: ImageReference,
  platform: Platform,
  what: string,
  depth: number,
  signal?: AbortSignal,
): Promise<Document> {
  const document = await client.manifest(reference, signal);
  const read = parseManifestOrIndex(document.bytes, what);
  if ('manifest' in read) return document;
  if (depth === maxDepth)
    throw new BerthError('IMAGE_INVALID', `${formatReference(reference)} nests too many indexes.`);
  const { digest } = choose(read.index, platform, formatReference(reference));
  const { registry, repository } = reference;
  return manifestFor(client, { registry, repository, digest }, platform, what, depth + 1, signal);
}

function choose(index: Index, wanted: Platform, name: string): Descriptor {
  const fits = index.manifests.filter(
    ({ platform }) =>
      platform === undefined || (platform.os === wanted.os && platform.architecture === wanted.architecture),
  );
  const exact = fits.find(({ platform }) => platform?.variant === wanted.variant && platform !== undefined);
  const chosen = exact ?? (wanted.variant === undefined ? fits[0] : undefined);
  if (chosen) return chosen;
  const text = ({ os, architecture, variant }: Platform) => [os, architecture, variant].filter(Boolean).join('/');
  const there = index.manifests.flatMap(({ platform }) => (platform ? [text(platform)] : []));
  throw new BerthError('IMAGE_NOT_FOUND', `${name} has no image for ${text(wanted)}.`, {
    hint: there.length > 0 ? `It has: ${there.join(', ')}.` : 'It has none for any platform.',
    details: { platforms: there },
  });
}

async function readDocument(
  client: RegistryClient,
  repository: Repository,
  descriptor: Descriptor,
  signal?: AbortSignal,
): Promise<Document> {
  if (descriptor.size > maxConfigBytes) {
    throw new BerthError('IMAGE_INVALID', `The config of an image in ${repository.repository} is over 16 MiB.`);
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of readBlob(client, repository, descriptor, signal)) pieces.push(piece);
  return { bytes: Buffer.concat(pieces), descriptor };
}

function remoteLayer(
  client: RegistryClient,
  repository: Repository,
  descriptor: Descriptor,
  diffId: Digest,
  progress: (bytes: number) => void,
): Layer {
  const compression = compressionOf(descriptor.mediaType);
  if (compression === undefined) {
    throw new BerthError(
      'IMAGE_INVALID',
      `A layer is of the kind \`${descriptor.mediaType}\`, which Berth cannot unpack.`,
    );
  }
  return {
    descriptor,
    diffId,
    tarSize: compression === 'none' ? descriptor.size : null,
    async *open(signal) {
      for await (const piece of readBlob(client, repository, descriptor, signal)) {
        progress(piece.length);
        yield piece;
      }
    },
  };
}

function pullProgress(layers: readonly Descriptor[], emit: Emit, label: string): (bytes: number) => void {
  const total = layers.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  return (bytes) => {
    done += bytes;
    emit({ type: 'progress', phase: 'pull', unit: 'bytes', done: Math.min(done, total), total, label });
  };
}
