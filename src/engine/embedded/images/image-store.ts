/**
 * The images of the embedded engine: a record each, and the unpacked layers that they share. Nothing is counted up or
 * down: what images and berths use is read from their files when something is to be removed, so a crash cannot make it
 * wrong.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Digest } from '../../../core/digest.ts';
import { BerthError } from '../../../core/errors.ts';
import { exec } from '../../../core/exec.ts';
import { isErrno } from '../../../core/files.ts';
import { SingleFlight } from '../../../core/single-flight.ts';
import type { Image } from '../../../oci/image.ts';
import type { ImageUsage, LoadContext, LoadedImage } from '../../engine.ts';
import { imageMissing, type ImageRecord, imageRecords, recordOf } from '../../image-records.ts';
import { layerName, layerStore } from './layer-store.ts';
import { maxLayers } from './overlay.ts';

export interface ImageStoreOptions {
  /** Holds `images` and `layers`. */
  readonly directory: string;
  /** Holds each berth's folder, in which `attach` notes what it uses. */
  readonly berths: string;
  readonly asRoot: boolean;
}

/** Layers that are unpacked at once: two keep a machine busy, since tar and the digests are processes of their own. */
const layersAtOnce = 2;
const berthFile = 'image.json';
const berthSchema = z.object({ layers: z.array(z.string()) });

export interface ImageStore {
  /** Layers lie in it, by the names that `attach` gives. */
  readonly layerDirectory: string;
  load(image: Image, context: LoadContext): Promise<LoadedImage>;
  find(digest: Digest): ImageRecord | undefined;
  all(): ImageRecord[];
  remove(digest: Digest): Promise<void>;
  usage(): ImageUsage[];
  /**
   * Notes in a berth's folder what it is made from, so that it stays as long as the berth.
   * @returns the names of its layers, from the bottom up
   * @throws BerthError IMAGE_MISSING
   */
  attach(digest: Digest, berth: string): string[];
  /** @returns the layers that a berth is made from, or undefined for one of the minimal image */
  layersOf(berth: string): string[] | undefined;
  /** Removes layers that nothing uses any more. */
  sweep(): Promise<void>;
}

export function imageStore({ directory, berths, asRoot }: ImageStoreOptions): ImageStore {
  const records = imageRecords(join(directory, 'images'));
  const layers = layerStore(join(directory, 'layers'));
  let leftovers: Promise<void> | undefined;
  const flights = new SingleFlight<Digest, LoadedImage>();
  /** Layers of images that are on their way in, which no record names yet. */
  const coming = new Map<object, readonly string[]>();

  const namesOf = (record: ImageRecord) => record.config.rootfs.diff_ids.map(layerName);
  const isWhole = (record: ImageRecord) => namesOf(record).every((name) => layers.has(name));
  const find = (digest: Digest) => {
    const record = records.find(digest);
    return record && isWhole(record) ? record : undefined;
  };

  const used = () =>
    new Set([
      ...records.all().flatMap(namesOf),
      ...berthsIn(berths).flatMap((berth) => layersOfBerth(join(berths, berth)) ?? []),
      ...[...coming.values()].flat(),
    ]);
  const sweep = () => layers.sweep(used);

  async function unpackAll(image: Image, { emit, signal }: LoadContext) {
    const total = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    const moved = new Set<Digest>();
    let movedBytes = 0;
    let done = 0;
    const report = (bytes: number) => {
      done += bytes;
      emit({ type: 'progress', phase: 'materialise', unit: 'bytes', done, total, label: 'layers' });
    };
    const waiting = [...new Map(image.layers.map((layer) => [layer.diffId, layer])).values()];
    const giveUp = new AbortController();
    const stop = signal ? AbortSignal.any([signal, giveUp.signal]) : giveUp.signal;
    const work = async () => {
      for (let layer = waiting.shift(); layer !== undefined; layer = waiting.shift()) {
        if (stop.aborted) throw new BerthError('CANCELLED', 'Bringing an image in was cancelled.');
        if (!(await layers.ensure(layer, { signal: stop, asRoot, onBytes: report }))) continue;
        moved.add(layer.diffId);
        movedBytes += layer.descriptor.size;
      }
    };
    // The first failure ends the others, and is the one that is told.
    let failure: { readonly error: unknown } | undefined;
    const workers = Array.from({ length: layersAtOnce }, () =>
      work().catch((error: unknown) => {
        failure ??= { error };
        giveUp.abort();
      }),
    );
    await Promise.all(workers);
    if (failure) throw failure.error;
    return { movedBytes, movedLayers: moved.size, keptLayers: image.layers.length - moved.size };
  }

  async function load(image: Image, record: ImageRecord, context: LoadContext): Promise<LoadedImage> {
    if (find(record.digest)) {
      return { movedBytes: 0, movedLayers: 0, keptLayers: image.layers.length, how: 'there already' };
    }
    if (image.layers.length > maxLayers) {
      throw new BerthError(
        'IMAGE_INVALID',
        `The image ${record.digest} has ${image.layers.length} layers; overlayfs stacks ${maxLayers} here.`,
      );
    }
    // What an earlier daemon left half-made.
    await (leftovers ??= sweep());
    const key = {};
    coming.set(key, namesOf(record));
    try {
      const sum = await unpackAll(image, context);
      // The record says that the layers are whole, so they are on the disk before it is.
      if (sum.movedLayers > 0) await exec('sync', ['--file-system', layers.directory]);
      await records.save(record);
      return { ...sum, how: 'unpacked' };
    } catch (error) {
      coming.delete(key);
      await sweep();
      throw error;
    } finally {
      coming.delete(key);
    }
  }

  return {
    layerDirectory: layers.directory,
    find,
    all: () => records.all().filter(isWhole),
    async load(image, context) {
      const record = recordOf(image);
      const work = (signal: AbortSignal) => load(image, record, { ...context, signal });
      return (await flights.run(record.digest, work, context.signal)).value;
    },
    async remove(digest) {
      records.delete(digest);
      await sweep();
    },
    attach(digest, berth) {
      const known = layersOfBerth(berth);
      if (known) return known;
      const record = find(digest);
      if (!record) throw imageMissing(digest);
      const names = namesOf(record);
      mkdirSync(berth, { recursive: true });
      writeFileSync(join(berth, berthFile), JSON.stringify({ image: digest, layers: names }));
      return names;
    },
    usage() {
      const images = records.all().map((record) => ({ record, names: [...new Set(namesOf(record))] }));
      const users = new Map<string, number>();
      for (const name of images.flatMap(({ names }) => names)) users.set(name, (users.get(name) ?? 0) + 1);
      return images.map(({ record, names }) => {
        const sum = (wanted: (name: string) => boolean) =>
          names.reduce((bytes, name) => bytes + (wanted(name) ? (layers.find(name)?.bytes ?? 0) : 0), 0);
        return {
          digest: record.digest,
          layers: names.length,
          totalBytes: sum(() => true),
          sharedBytes: sum((name) => (users.get(name) ?? 0) > 1),
          uniqueBytes: sum((name) => users.get(name) === 1),
          storeBytes: sum((name) => layers.find(name)?.linked === true),
        };
      });
    },
    layersOf: layersOfBerth,
    sweep,
  };
}

function berthsIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function layersOfBerth(berth: string): string[] | undefined {
  try {
    return berthSchema.parse(JSON.parse(readFileSync(join(berth, berthFile), 'utf8'))).layers;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
