/**
 * Makes layers from store paths and small trees. A layer is streamed once, hashed before and after it is packed in the
 * same pass, and remembered; later its bytes come from the kept blob or, for one that is not packed, from the store.
 */
import { createHash, type Hash } from 'node:crypto';
import { type Digest, digestOfJson } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { SingleFlight } from '../../core/single-flight.ts';
import { type BlobStore, writeBlob } from '../blobs/blob-store.ts';
import { type Compression, compressionOf, layerMediaType } from '../media-types.ts';
import { storeEntries } from '../tar/store-entries.ts';
import { type TarEntry, tarStream } from '../tar/tar-stream.ts';
import { type ImageTree, treeEntries } from '../tar/tree-entries.ts';
import type { Compressor } from './compressor.ts';
import { type Layer, type LayerRecord, layerWriterVersion } from './layer.ts';
import { type LayerCache, layerKey } from './layer-cache.ts';

export interface LayerWriterOptions {
  /** The folder on this host that holds the store paths. */
  readonly physicalStore: string;
  readonly cache: LayerCache;
  readonly compressor: Compressor;
  /** Keeps blobs that were packed, since packing is slow. Store paths that are not packed are never kept: the store has them. */
  readonly blobs: BlobStore;
}

export interface LayerWriter {
  /**
   * @param paths store paths, in any order
   * @returns the layer, written only if it never was
   * @throws BerthError LAYER_UNREADABLE, CANCELLED
   */
  storeLayer(paths: readonly string[], compression: Compression, signal?: AbortSignal): Promise<Layer>;
  /** The same for a tree in memory. Its blob is kept however it is packed, since no store has it. */
  treeLayer(tree: ImageTree, compression: Compression, signal?: AbortSignal): Promise<Layer>;
  /** @returns the layer of a record that was kept elsewhere, with nothing read before its bytes are asked for */
  remembered(record: LayerRecord, content: LayerContent): Layer;
  /** How many layers were streamed and hashed; the rest were remembered. */
  readonly written: number;
}

/** What a layer is made of: store paths, or a tree that is made when it is needed. */
export type LayerContent =
  { readonly paths: readonly string[] } | { readonly tree: () => ImageTree | Promise<ImageTree> };

/** Where a layer's content comes from; called anew for each pass over it. */
type Content = (signal?: AbortSignal) => Iterable<TarEntry> | AsyncIterable<TarEntry>;

export function createLayerWriter(options: LayerWriterOptions): LayerWriter {
  const { physicalStore, cache, blobs, compressor } = options;
  const flights = new SingleFlight<Digest, LayerRecord>();
  let written = 0;

  const bytesOf = (content: Content, compression: Compression, onTar?: (piece: Uint8Array) => void) => {
    return async function* (signal?: AbortSignal): AsyncGenerator<Uint8Array> {
      const tar = observed(tarStream(content(signal)), onTar, signal);
      yield* compression === 'none' ? tar : compressor.compress(tar, compression);
    };
  };

  const write = async (
    content: Content,
    compression: Compression,
    isKept: boolean,
    signal: AbortSignal,
  ): Promise<LayerRecord> => {
    const tarHash = createHash('sha256');
    let tarSize = 0;
    const stream = bytesOf(content, compression, (piece) => {
      tarHash.update(piece);
      tarSize += piece.length;
    })(signal);
    let digest: Digest | undefined;
    let size: number;
    if (!isKept) {
      // Only read through: what is hashed on the way is all that is wanted.
      while (!(await stream.next()).done);
      size = tarSize;
    } else {
      const kept = await writeBlob(blobs, stream);
      ({ digest, size } = kept);
    }
    const diffId = digestFrom(tarHash);
    written += 1;
    return { descriptor: { mediaType: layerMediaType(compression), digest: digest ?? diffId, size }, diffId, tarSize };
  };

  const layerOf = (record: LayerRecord, content: Content): Layer => ({
    ...record,
    async *open(signal) {
      const { digest, size, mediaType } = record.descriptor;
      if ((await blobs.size(digest)) === size) yield* blobs.read(digest);
      else yield* sized(bytesOf(content, compressionOf(mediaType) ?? 'none')(signal), record);
    },
  });

  const layer = async (
    key: Digest,
    content: Content,
    compression: Compression,
    isKept: boolean,
    signal?: AbortSignal,
  ): Promise<Layer> => {
    const { value: record } = await flights.run(
      key,
      async (flightSignal) => {
        const known = await cache.get(key);
        if (known) return known;
        const record = await write(content, compression, isKept, flightSignal);
        await cache.put(key, record);
        return record;
      },
      signal,
    );
    return layerOf(record, content);
  };

  const storeContent =
    (paths: readonly string[]): Content =>
    (signal) =>
      storeEntries(physicalStore, paths, signal);

  return {
    storeLayer: async (paths, compression, signal) => ({
      ...(await layer(layerKey(paths, compression), storeContent(paths), compression, compression !== 'none', signal)),
      fromStore: { physicalStore, paths },
    }),
    treeLayer: async (tree, compression, signal) => {
      const entries = treeEntries(tree);
      const made = await layer(treeKey(entries, compression), () => entries, compression, true, signal);
      const { digest, size } = made.descriptor;
      // Remembered, but its blob was dropped: written again, since nothing else has it.
      if ((await blobs.size(digest)) !== size) await writeBlob(blobs, bytesOf(() => entries, compression)(signal));
      return made;
    },
    remembered: (record, content) =>
      'paths' in content
        ? { ...layerOf(record, storeContent(content.paths)), fromStore: { physicalStore, paths: content.paths } }
        : layerOf(record, () => entriesOf(content.tree)),
    get written() {
      return written;
    },
  };
}

async function* entriesOf(tree: () => ImageTree | Promise<ImageTree>): AsyncGenerator<TarEntry> {
  yield* treeEntries(await tree());
}

function treeKey(entries: readonly TarEntry[], compression: Compression): Digest {
  const tree = entries.map((entry) => ({
    ...entry,
    path: entry.path.toString('base64'),
    ...(entry.type === 'symlink' ? { target: entry.target.toString('base64') } : {}),
    ...(entry.type === 'file' ? { content: Buffer.from(entry.content as Uint8Array).toString('base64') } : {}),
  }));
  return digestOfJson({ tree, compression, version: layerWriterVersion });
}

/** Passes a stream on, shows each piece to `see`, and stops it when the signal aborts. */
async function* observed(
  stream: AsyncIterable<Uint8Array>,
  see: ((piece: Uint8Array) => void) | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const piece of stream) {
    if (signal?.aborted) throw new BerthError('CANCELLED', 'Writing a layer was cancelled.');
    see?.(piece);
    yield piece;
  }
}

/** A blob that is written anew must have the size that was promised for it. */
async function* sized(stream: AsyncIterable<Uint8Array>, record: LayerRecord): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const piece of stream) {
    size += piece.length;
    yield piece;
  }
  if (size === record.descriptor.size) return;
  throw new BerthError(
    'LAYER_UNREADABLE',
    `The layer ${record.descriptor.digest} had ${record.descriptor.size} bytes when it was first written and has ` +
      `${size} now: a store path has changed.`,
  );
}

function digestFrom(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}`;
}
