/** Writes images as an OCI image layout (image specification, `image-layout.md`): a folder, or a tar of one. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson, type Digest } from '../../core/digest.ts';
import { writeFileAtomically } from '../../core/files.ts';
import { blobPath, diskBlobs } from '../blobs/disk-blobs.ts';
import { writeBlob } from '../blobs/blob-store.ts';
import { type Image, type MultiPlatformImage, rootOf } from '../image.ts';
import { mediaTypes } from '../media-types.ts';
import { type TarEntry, tarStream } from '../tar/tar-stream.ts';

export interface ImageFileOptions {
  /** The name that the image has in the layout: a tag, or a whole reference. */
  readonly tag?: string;
  readonly signal?: AbortSignal;
}

interface Blob {
  readonly digest: Digest;
  readonly size: number;
  readonly content: Uint8Array | (() => AsyncIterable<Uint8Array>);
}

const layoutFile = canonicalJson({ imageLayoutVersion: '1.0.0' });

/**
 * Writes a layout folder. Blobs that are there stay as they are; index.json is replaced at the end, so that a reader
 * finds the old image or the whole new one.
 * @returns the bytes of the blobs that were written
 */
export async function writeOciLayout(
  folder: string,
  image: Image | MultiPlatformImage,
  options: ImageFileOptions = {},
): Promise<number> {
  let written = 0;
  await mkdir(folder, { recursive: true });
  const blobs = diskBlobs(folder);
  for (const blob of blobsOf(image, options.signal)) {
    if ((await blobs.size(blob.digest)) === blob.size) continue;
    const content = blob.content instanceof Uint8Array ? [blob.content] : blob.content();
    await writeBlob(blobs, content, blob.digest);
    written += blob.size;
  }
  await writeFileAtomically(join(folder, 'oci-layout'), layoutFile);
  await writeFileAtomically(join(folder, 'index.json'), layoutIndex(image, options.tag));
  return written;
}

/** @returns the bytes of an `oci-archive`, which skopeo, podman and Docker's `load` read */
export function ociArchive(
  image: Image | MultiPlatformImage,
  options: ImageFileOptions = {},
): AsyncIterable<Uint8Array> {
  const file = (path: string, content: string | Uint8Array): TarEntry => {
    const bytes = Buffer.from(content);
    return { type: 'file', path: Buffer.from(path), mode: 0o644, size: bytes.length, content: bytes };
  };
  const folder = (path: string): TarEntry => ({ type: 'directory', path: Buffer.from(path), mode: 0o755 });
  return tarStream([
    file('oci-layout', layoutFile),
    file('index.json', layoutIndex(image, options.tag)),
    folder('blobs'),
    folder('blobs/sha256'),
    ...blobsOf(image, options.signal).map(({ digest, size, content }): TarEntry => ({
      type: 'file',
      path: Buffer.from(blobPath(digest)),
      mode: 0o644,
      size,
      content,
    })),
  ]);
}

/** @returns every blob of the image once: documents first, then layers from the bottom up */
function blobsOf(image: Image | MultiPlatformImage, signal?: AbortSignal): Blob[] {
  const { root, images } = rootOf(image);
  const blobs = new Map<Digest, Blob>();
  for (const { bytes, descriptor } of [root, ...images.flatMap(({ manifest, config }) => [manifest, config])]) {
    blobs.set(descriptor.digest, { digest: descriptor.digest, size: descriptor.size, content: bytes });
  }
  for (const layer of images.flatMap(({ layers }) => layers)) {
    const { digest, size } = layer.descriptor;
    blobs.set(digest, { digest, size, content: () => layer.open(signal) });
  }
  return [...blobs.values()];
}

function layoutIndex(image: Image | MultiPlatformImage, tag?: string): string {
  const { descriptor } = rootOf(image).root;
  const annotations = tag === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': tag } };
  return canonicalJson({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ ...descriptor, ...annotations }],
  });
}
