/** Small images whose layers are in memory, for tests of engines. */
import { gzipSync } from 'node:zlib';
import { digestOf } from '../core/digest.ts';
import { type Image, imageOf } from '../oci/image.ts';
import type { ImageSettings } from '../oci/image-config.ts';
import type { Layer } from '../oci/layer/layer.ts';
import { type Compression, layerMediaType } from '../oci/media-types.ts';
import { tarStream } from '../oci/tar/tar-stream.ts';
import { type ImageTree, treeEntries } from '../oci/tar/tree-entries.ts';

/** @returns a layer of a tar; `opened` counts how often its bytes were asked for */
export function layerOfTar(tar: Uint8Array, compression: Compression = 'none'): Layer & { readonly opened: number } {
  const blob = compression === 'gzip' ? gzipSync(tar) : tar;
  let opened = 0;
  return {
    descriptor: { mediaType: layerMediaType(compression), digest: digestOf(blob), size: blob.length },
    diffId: digestOf(tar),
    tarSize: tar.length,
    // A pause between the pieces, as a file or network has.
    async *open() {
      opened += 1;
      for (let at = 0; at < blob.length; at += 65_536) {
        await new Promise((resolve) => setImmediate(resolve));
        yield blob.subarray(at, at + 65_536);
      }
    },
    get opened() {
      return opened;
    },
  };
}

/** @returns a layer that holds a tree; names that begin with `.wh.` take away what is below */
export async function layerOfTree(tree: ImageTree, compression: Compression = 'none') {
  const pieces: Uint8Array[] = [];
  for await (const piece of tarStream(treeEntries(tree))) pieces.push(piece);
  return layerOfTar(Buffer.concat(pieces), compression);
}

/** @returns an image for this machine */
export function imageForTests(layers: readonly Layer[], settings: Partial<ImageSettings> = {}): Image {
  return imageOf(layers, { architecture: process.arch === 'x64' ? 'amd64' : process.arch, ...settings });
}
