/**
 * Images of Berth on a Docker server. Pulling from a registry on loopback moves only the layers that the server lacks;
 * where that does not work, the archive for `docker load` names all layers and holds only those.
 */
import { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { z } from 'zod';
import { chainIds } from '../../oci/chain-id.ts';
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import type { Image } from '../../oci/image.ts';
import type { Layer } from '../../oci/layer/layer.ts';
import { dockerArchive } from '../../oci/targets/docker-archive.ts';
import type { LoadContext, LoadedImage } from '../engine.ts';
import { dockerError, statusOf } from './docker-errors.ts';

/** Offers an image on a registry of this machine, until it is told that it is done. */
export type ServeImage = (image: Image) => Promise<{
  /** As the server is to pull it, by digest: `127.0.0.1:5000/berth@sha256:…`. */
  readonly reference: string;
  done(): Promise<void>;
}>;

const repository = 'berth/image';

/** @returns the name under which the server keeps the image, so that its digest can be told from it */
export function loadedName(digest: Digest): string {
  return `${repository}:${digest.slice('sha256:'.length)}`;
}

/** @returns the digests of the images that Berth brought in */
export async function loadedImages(docker: Docker): Promise<Digest[]> {
  const images = await docker.listImages({ filters: { reference: [repository] } });
  return images
    .flatMap(({ RepoTags }) => (RepoTags as string[] | null) ?? [])
    .flatMap((tag): Digest[] => {
      const [, hex] = /^berth\/image:([0-9a-f]{64})$/.exec(tag) ?? [];
      return hex === undefined ? [] : [`sha256:${hex}`];
    })
    .sort();
}

/**
 * Gives an image that was brought in a name for people.
 * @param name `NAME`, or `NAME:TAG`
 * @throws BerthError REQUEST_INVALID when the server does not take the name
 */
export async function nameInDocker(docker: Docker, digest: Digest, name: string): Promise<void> {
  const [, repo = '', tag = 'latest'] = /^(.*?)(?::([^:/]+))?$/.exec(name) ?? [];
  try {
    await docker.getImage(loadedName(digest)).tag({ repo, tag });
  } catch (error) {
    throw dockerError(error, 'REQUEST_INVALID', `Docker does not name an image ${name}`);
  }
}

export async function isLoaded(docker: Docker, digest: Digest): Promise<boolean> {
  try {
    await docker.getImage(loadedName(digest)).inspect();
    return true;
  } catch (error) {
    if (statusOf(error) === 404) return false;
    throw error;
  }
}

/**
 * Brings an image in that the server does not have.
 * @param serve absent: there is no registry to pull from
 * @throws BerthError IMAGE_INVALID, LAYER_UNREADABLE, CANCELLED
 */
export async function loadIntoDocker(
  docker: Docker,
  image: Image,
  serve: ServeImage | undefined,
  context: LoadContext,
): Promise<LoadedImage> {
  if (serve) {
    try {
      return await pull(docker, image, serve, context);
    } catch (error) {
      context.signal?.throwIfAborted();
      const message = error instanceof Error ? error.message : String(error);
      context.emit({ type: 'warning', message: `Docker could not pull the image, so it is sent whole: ${message}` });
    }
  }
  return load(docker, image, context);
}

const pullMessageSchema = z.object({
  id: z.string().optional(),
  status: z.string().optional(),
  error: z.string().optional(),
});

async function pull(docker: Docker, image: Image, serve: ServeImage, context: LoadContext): Promise<LoadedImage> {
  const served = await serve(image);
  const { reference } = served;
  try {
    const stream = await docker.pull(reference, context.signal ? { abortSignal: context.signal } : {});
    const report = reporter(image.layers, context);
    // The server names a layer by the first twelve digits of its blob's digest.
    const layers = new Map(image.layers.map((layer) => [shortId(layer.descriptor.digest), layer]));
    for await (const { id, status, error } of messagesOf(stream)) {
      if (error !== undefined) throw new BerthError('IMAGE_INVALID', `Docker did not pull ${reference}: ${error}`);
      const layer = id === undefined ? undefined : layers.get(id);
      if (layer && (status === 'Download complete' || status === 'Pull complete')) report.moved(layer);
    }
    const tag = image.manifest.descriptor.digest.slice('sha256:'.length);
    await docker.getImage(reference).tag({ repo: repository, tag });
    // The name that it was pulled by says nothing once the registry is gone.
    await docker.getImage(reference).remove({ noprune: true });
    return { ...report.sum(), how: `pulled from ${reference.split('/')[0] ?? ''}` };
  } catch (error) {
    throw dockerError(error, 'IMAGE_INVALID', 'Docker did not pull the image');
  } finally {
    await served.done();
  }
}

async function load(docker: Docker, image: Image, context: LoadContext): Promise<LoadedImage> {
  const name = loadedName(image.manifest.descriptor.digest);
  const without = await layersThere(docker, image);
  const report = reporter(image.layers, context);
  const layers = image.layers.map((layer) => ({
    ...layer,
    async *open(signal?: AbortSignal) {
      yield* layer.open(signal);
      report.moved(layer);
    },
  }));
  try {
    const archive = dockerArchive(
      { ...image, layers },
      { tags: [name], without, ...(context.signal ? { signal: context.signal } : {}) },
    );
    const answer = await docker.loadImage(Readable.from(archive), { quiet: true });
    for await (const { error } of messagesOf(answer)) {
      if (error !== undefined) throw new BerthError('IMAGE_INVALID', `Docker did not load the image: ${error}`);
    }
  } catch (error) {
    context.signal?.throwIfAborted();
    throw dockerError(error, 'IMAGE_INVALID', 'Docker did not load the image');
  }
  const { Id } = await docker.getImage(name).inspect();
  // Docker's own store names an image by its configuration, containerd's by its manifest.
  if (Id !== image.config.descriptor.digest && Id !== image.manifest.descriptor.digest) {
    await docker.getImage(name).remove();
    throw new BerthError('IMAGE_INVALID', `Docker loaded ${Id} and not ${image.config.descriptor.digest}.`);
  }
  return { ...report.sum(), how: without.size > 0 ? 'sent what Docker lacked' : 'sent as an archive' };
}

/**
 * @returns diff ids of the layers from the bottom up that the server has upon the same layers. None where it keeps
 * images in containerd's store, which takes whole archives only.
 */
async function layersThere(docker: Docker, image: Image): Promise<ReadonlySet<Digest>> {
  const info = z.looseObject({ DriverStatus: z.array(z.array(z.string())).nullish() }).parse(await docker.info());
  if (info.DriverStatus?.some(([, value]) => value?.startsWith('io.containerd.snapshotter') === true)) return new Set();
  const chains = new Set<string>();
  for (const { Id } of await docker.listImages({ all: true })) {
    try {
      const { RootFS } = await docker.getImage(Id).inspect();
      for (const chain of chainIds((RootFS.Layers ?? []) as Digest[])) chains.add(chain);
    } catch (error) {
      // It may go meanwhile.
      if (statusOf(error) !== 404) throw error;
    }
  }
  const there = image.chainIds.findIndex((chain) => !chains.has(chain));
  const kept = there < 0 ? image.layers : image.layers.slice(0, there);
  // A layer that comes again further up must be sent.
  const above = new Set(image.layers.slice(kept.length).map(({ diffId }) => diffId));
  return new Set(kept.map(({ diffId }) => diffId).filter((diffId) => !above.has(diffId)));
}

/** Counts what moves, each layer once, and tells it as progress. */
function reporter(layers: readonly Layer[], { emit }: LoadContext) {
  const moved = new Map<Digest, number>();
  const total = layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const movedBytes = () => [...moved.values()].reduce((sum, size) => sum + size, 0);
  return {
    moved({ descriptor }: Layer) {
      if (moved.has(descriptor.digest)) return;
      moved.set(descriptor.digest, descriptor.size);
      emit({ type: 'progress', phase: 'materialise', unit: 'bytes', done: movedBytes(), total, label: 'layers' });
    },
    sum: () => ({ movedBytes: movedBytes(), movedLayers: moved.size, keptLayers: layers.length - moved.size }),
  };
}

/** The server answers with one JSON object a line. */
async function* messagesOf(
  stream: NodeJS.ReadableStream,
): AsyncGenerator<z.infer<typeof pullMessageSchema>, void, undefined> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield pullMessageSchema.parse(JSON.parse(line));
  }
  if (rest.trim() !== '') yield pullMessageSchema.parse(JSON.parse(rest));
}

function shortId(digest: Digest): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
