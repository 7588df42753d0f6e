/** Writes an image of a large closure to nowhere, and prints the most memory that the process had. Run by itself. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { layersAtOnce } from '../../src/materialise/image.ts';
import { imageOf } from '../../src/oci/image.ts';
import { diskBlobs } from '../../src/oci/blobs/disk-blobs.ts';
import { Compressor } from '../../src/oci/layer/compressor.ts';
import { memoryLayerCache } from '../../src/oci/layer/layer-cache.ts';
import { createLayerWriter } from '../../src/oci/layer/layer-writer.ts';
import type { Compression } from '../../src/oci/media-types.ts';
import { ociArchive } from '../../src/oci/targets/oci-layout.ts';

const [folder = '', compression = 'none', ...paths] = process.argv.slice(2);
const compressor = new Compressor();
const writer = createLayerWriter({
  physicalStore: join(folder, 'store'),
  cache: memoryLayerCache(),
  compressor,
  blobs: diskBlobs(join(folder, `kept-${compression}`)),
});
const layers = [];
const atOnce = layersAtOnce(compression as Compression);
for (let at = 0; at < paths.length; at += atOnce) {
  const some = paths.slice(at, at + atOnce);
  layers.push(...(await Promise.all(some.map((path) => writer.storeLayer([path], compression as Compression)))));
}
const image = imageOf(layers, { architecture: 'amd64' });
const hash = createHash('sha256');
let bytes = 0;
for await (const piece of ociArchive(image)) {
  hash.update(piece);
  bytes += piece.length;
}
await compressor.close();
const peakKilobytes = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
console.log(JSON.stringify({ peakBytes: peakKilobytes * 1024, bytes, digest: hash.digest('hex') }));
