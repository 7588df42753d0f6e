/** Writes an image as the archive that `docker load` takes and `docker save` gives (Docker image specification 1.2). */
import type { Digest } from '../../core/digest.ts';
import type { Image } from '../image.ts';
import { type TarEntry, tarStream } from '../tar/tar-stream.ts';

export interface DockerArchiveOptions {
  /** References that the image gets when it is loaded: `name:tag`. */
  readonly tags?: readonly string[];
  /**
   * Layers, by diff id, that the engine has already upon the same layers: they are named but not sent. Docker with its
   * own image store takes this (20.10 does); one with containerd's image store is not known to.
   */
  readonly without?: ReadonlySet<Digest>;
  readonly signal?: AbortSignal;
}

/** @returns the archive's bytes: the image's config, its layers as they are packed, manifest.json */
export function dockerArchive(image: Image, options: DockerArchiveOptions = {}): AsyncIterable<Uint8Array> {
  const { config } = image;
  const configFile = `${hexOf(config.descriptor.digest)}.json`;
  const layerFile = (diffId: Digest) => `${hexOf(diffId)}.tar`;
  const layers = new Map(image.layers.map((layer) => [layer.diffId, layer]));
  const manifest = [
    {
      Config: configFile,
      RepoTags: options.tags && options.tags.length > 0 ? [...options.tags] : null,
      Layers: image.layers.map((layer) => layerFile(layer.diffId)),
    },
  ];
  const file = (path: string, bytes: Uint8Array): TarEntry => ({
    type: 'file',
    path: Buffer.from(path),
    mode: 0o644,
    size: bytes.length,
    content: bytes,
  });
  return tarStream([
    file(configFile, config.bytes),
    file('manifest.json', Buffer.from(JSON.stringify(manifest))),
    ...[...layers.values()]
      .filter((layer) => options.without?.has(layer.diffId) !== true)
      .map((layer): TarEntry => ({
        type: 'file',
        path: Buffer.from(layerFile(layer.diffId)),
        mode: 0o644,
        size: layer.descriptor.size,
        content: () => layer.open(options.signal),
      })),
  ]);
}

function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
