/**
 * Unpacked layers, each once by its diff id whatever is under it. A layer is a folder that appears whole by a rename:
 * `fs/` is what overlayfs stacks, `layer.json` what is known of it. What has another name is not whole.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Digest } from '../../../core/digest.ts';
import { isErrno } from '../../../core/files.ts';
import { SingleFlight } from '../../../core/single-flight.ts';
import type { Layer } from '../../../oci/layer/layer.ts';
import { digestSchema } from '../../../oci/model.ts';
import { removeTree } from '../remove-tree.ts';
import { linkLayer } from './link-layer.ts';
import { unpackLayer, type UnpackOptions } from './unpack-layer.ts';

const layerSchema = z.object({ diffId: digestSchema, bytes: z.number(), linked: z.boolean() });

/** What is known of an unpacked layer: the bytes of its tar, and whether its files are the store's own. */
export type UnpackedLayer = z.infer<typeof layerSchema>;

export interface LayerStore {
  /** The folder in which each layer's lies. */
  readonly directory: string;
  find(name: string): UnpackedLayer | undefined;
  has(name: string): boolean;
  /**
   * Unpacks the layer where it is not there; callers of the same time share that.
   * @returns whether it had to be
   */
  ensure(layer: Layer, options: UnpackOptions): Promise<boolean>;
  /** Removes all layers but those of these names, asked for when it comes to that, and what a crash left of others. */
  sweep(used: () => ReadonlySet<string>): Promise<void>;
}

/**
 * @returns the name of a layer's folder: 144 bits of its diff id in base 64. The names of a stack of layers must fit the
 * page that mount(2) takes, as 128 of these do, and none may be found that clashes with another image's.
 */
export function layerName(diffId: Digest): string {
  return Buffer.from(diffId.slice('sha256:'.length), 'hex').subarray(0, 18).toString('base64url');
}

const temporaryPrefix = 'new.';

export function layerStore(directory: string): LayerStore {
  const flights = new SingleFlight<string, boolean>();
  /** Folders that this process is filling, which are no leftovers. */
  const filling = new Set<string>();
  /** Work that was cancelled and still removes what it made. */
  const stopping = new Set<Promise<void>>();

  const find = (name: string) => {
    try {
      return layerSchema.parse(JSON.parse(readFileSync(join(directory, name, 'layer.json'), 'utf8')));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  };

  async function unpack(layer: Layer, options: UnpackOptions): Promise<void> {
    // Its owner's only: what is in a layer may have its setuid bit set, and be anybody's.
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const temporary = await mkdtemp(join(directory, temporaryPrefix));
    filling.add(temporary);
    try {
      const files = join(temporary, 'fs');
      await mkdir(files);
      await chmod(files, 0o755);
      const linked = layer.fromStore !== undefined && (await linkLayer(layer.fromStore, files, options.signal));
      if (linked) options.onBytes?.(layer.descriptor.size);
      const bytes = (linked ? layer.tarSize : undefined) ?? (await unpackLayer(layer, files, options));
      const known: UnpackedLayer = { diffId: layer.diffId, bytes, linked };
      await writeFile(join(temporary, 'layer.json'), JSON.stringify(known));
      await rename(temporary, join(directory, layerName(layer.diffId)));
    } catch (error) {
      await removeTree(temporary);
      throw error;
    } finally {
      filling.delete(temporary);
    }
  }

  return {
    directory,
    find,
    has: (name) => existsSync(join(directory, name, 'fs')),
    async ensure(layer, options) {
      const name = layerName(layer.diffId);
      const { value, joined } = await flights.run(
        name,
        async (signal) => {
          if (existsSync(join(directory, name))) return false;
          const work = unpack(layer, { ...options, signal });
          const stop = () => {
            const stopped = work.catch(() => undefined).finally(() => stopping.delete(stopped));
            stopping.add(stopped);
          };
          signal.addEventListener('abort', stop, { once: true });
          await work;
          signal.removeEventListener('abort', stop);
          return true;
        },
        options.signal,
      );
      return value && !joined;
    },
    async sweep(used) {
      await Promise.all(stopping);
      const names = used();
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const unused = readdirSync(directory).flatMap((name) => {
        const path = join(directory, name);
        if (filling.has(path) || (!name.startsWith(temporaryPrefix) && names.has(name))) return [];
        if (name.startsWith(temporaryPrefix)) return path;
        // At once, so that no image that is brought in meanwhile counts on it.
        const gone = join(directory, `${temporaryPrefix}gone-${name}`);
        renameSync(path, gone);
        return gone;
      });
      for (const path of unused) await removeTree(path);
    },
  };
}
