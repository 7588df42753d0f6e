/** Puts layers and settings together to an image, and images of several platforms to one name. */
import { type Digest, digestOf } from '../core/digest.ts';
import { chainIds } from './chain-id.ts';
import { imageConfigOf, type ImageSettings } from './image-config.ts';
import type { Layer } from './layer/layer.ts';
import { mediaTypes } from './media-types.ts';
import { type Document, documentOf, type Platform } from './model.ts';

/** An image whose bytes can be asked for. Its digest is that of its manifest. */
export interface Image {
  readonly manifest: Document;
  readonly config: Document;
  /** From the bottom of the stack up. */
  readonly layers: readonly Layer[];
  /** One a layer: which unpacked layers an engine shares with other images. */
  readonly chainIds: readonly Digest[];
  readonly platform: Platform;
}

/** Images of one config for several architectures under one index. */
export interface MultiPlatformImage {
  readonly index: Document;
  readonly images: readonly Image[];
}

/** @returns the image; the same layers and settings give the same digest on every host */
export function imageOf(layers: readonly Layer[], settings: ImageSettings): Image {
  const diffIds = layers.map((layer) => layer.diffId);
  const config = documentOf(mediaTypes.config, imageConfigOf(settings, diffIds));
  const manifest = documentOf(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: config.descriptor,
    layers: layers.map((layer) => layer.descriptor),
    ...(settings.labels ? { annotations: settings.labels } : {}),
  });
  const platform = { os: 'linux', architecture: settings.architecture };
  return { manifest, config, layers, chainIds: chainIds(diffIds), platform };
}

/** @returns the image that was made of these layers before, from its documents as they were */
export function imageOfDocuments(
  manifest: string,
  config: string,
  layers: readonly Layer[],
  architecture: string,
): Image {
  const document = (mediaType: string, text: string): Document => {
    const bytes = new TextEncoder().encode(text);
    return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
  };
  return {
    manifest: document(mediaTypes.manifest, manifest),
    config: document(mediaTypes.config, config),
    layers,
    chainIds: chainIds(layers.map(({ diffId }) => diffId)),
    platform: { os: 'linux', architecture },
  };
}

/** @returns the images under one index, sorted by their architecture */
export function multiPlatformImageOf(images: readonly Image[]): MultiPlatformImage {
  const sorted = [...images].sort((a, b) => (a.platform.architecture < b.platform.architecture ? -1 : 1));
  const index = documentOf(mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: sorted.map((image) => ({ ...image.manifest.descriptor, platform: image.platform })),
  });
  return { index, images: sorted };
}

/** @returns the document that stands for the whole, and the images in it */
export function rootOf(image: Image | MultiPlatformImage): { root: Document; images: readonly Image[] } {
  return 'index' in image ? { root: image.index, images: image.images } : { root: image.manifest, images: [image] };
}
