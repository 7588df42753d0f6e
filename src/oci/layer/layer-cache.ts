/** Remembers the digests of layers, so that a layer's bytes are hashed once for ever. */
import { join } from 'node:path';
import { z } from 'zod';
import { type Digest, digestOfJson } from '../../core/digest.ts';
import { readTextIfThere, writeFileAtomically } from '../../core/files.ts';
import type { Compression } from '../media-types.ts';
import { descriptorSchema, digestSchema } from '../model.ts';
import { type LayerRecord, layerWriterVersion } from './layer.ts';

/** The port: a map from a layer's key to its record, kept as long as its owner likes. */
export interface LayerCache {
  get(key: Digest): Promise<LayerRecord | undefined>;
  put(key: Digest, record: LayerRecord): Promise<void>;
}

/**
 * A layer's key: a store path stands for its content (it is named by what it was made from), so sorted paths,
 * compression and the writer's version are all that its bytes depend on.
 */
export function layerKey(paths: readonly string[], compression: Compression): Digest {
  return digestOfJson({ paths: [...paths].sort(), compression, version: layerWriterVersion });
}

/** @returns a cache in memory */
export function memoryLayerCache(): LayerCache {
  const records = new Map<Digest, LayerRecord>();
  return {
    get: (key) => Promise.resolve(records.get(key)),
    put: (key, record) => {
      records.set(key, record);
      return Promise.resolve();
    },
  };
}

const recordSchema = z.object({ descriptor: descriptorSchema, diffId: digestSchema, tarSize: z.number() });

/**
 * @param folder where each record is a small file named by its key
 * @returns a cache on disk; a record that cannot be read counts as absent and is written anew
 */
export function diskLayerCache(folder: string): LayerCache {
  const fileOf = (key: Digest) => join(folder, `${key.slice('sha256:'.length)}.json`);
  return {
    async get(key) {
      const text = await readTextIfThere(fileOf(key));
      if (text === undefined) return undefined;
      try {
        return recordSchema.parse(JSON.parse(text));
      } catch {
        return undefined;
      }
    },
    async put(key, record) {
      await writeFileAtomically(fileOf(key), JSON.stringify(record));
    },
  };
}
