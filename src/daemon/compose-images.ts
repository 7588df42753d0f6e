/** The wiring of images: layers, their blobs and digests, the minimal images that they stand on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../core/package-root.ts';
import { describeMinimalImageOf, type MinimalImage } from '../engine/minimal-image/minimal-image.ts';
import type { ImageRecords } from '../environment/image-records.ts';
import { createImageStep, type ImageStep } from '../environment/image-step.ts';
import type { WorkContext } from '../environment/service.ts';
import type { Nix } from '../nix/nix.ts';
import { physicalPath, physicalStoreDirectory } from '../nix/store.ts';
import type { BlobStore } from '../oci/blobs/blob-store.ts';
import { diskBlobs } from '../oci/blobs/disk-blobs.ts';
import { Compressor } from '../oci/layer/compressor.ts';
import { diskLayerCache } from '../oci/layer/layer-cache.ts';
import { createLayerWriter } from '../oci/layer/layer-writer.ts';
import { bootstrapOf } from '../sources/debian/source.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import type { Settings } from './settings.ts';

export interface ComposedImages {
  readonly step: ImageStep;
  close(): Promise<void>;
}

export interface ImageParts {
  readonly nix: Nix;
  readonly records: ImageRecords;
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  /** The host's own static busybox, for images of sources that have none. */
  readonly busybox: string;
  /** Where packed layers are kept. Default: the disk. */
  readonly blobs?: BlobStore;
}

export function composeImages(
  settings: Settings,
  { nix, records, sources, busybox, blobs = diskBlobs(settings.home) }: ImageParts,
): ComposedImages {
  const compressor = new Compressor();
  const writer = createLayerWriter({
    physicalStore: physicalStoreDirectory(nix.store),
    cache: diskLayerCache(join(settings.home, 'layers')),
    compressor,
    blobs,
  });
  const bases = new Map<string, Promise<MinimalImage>>();

  /** The busybox of the suite that the config is locked to, so that the image is the same whatever the host has. */
  async function busyboxFor(locked: readonly LockedSource[], context: WorkContext): Promise<string> {
    const debian = locked.find(({ kind }) => kind === 'debian');
    if (!debian) return busybox;
    const file = join(physicalPath(nix.store, bootstrapOf(debian)), 'bin/busybox');
    if (!existsSync(file)) await sources.debian.prepare(debian, context);
    return file;
  }

  const step = createImageStep({
    store: nix.store,
    writer,
    sizesOf: (paths) => nix.sizesOf(paths),
    records,
    hasBlob: async (digest, size) => (await blobs.size(digest)) === size,
    async baseFor(system, locked, context) {
      const program = await busyboxFor(locked, context);
      const [cpu = ''] = system.split('-');
      const key = `${cpu} ${program}`;
      const known =
        bases.get(key) ??
        describeMinimalImageOf({
          busybox: program,
          nativeDirectory: join(packageRoot, `native/bin/${cpu}-linux`),
          machine: cpu === 'aarch64' ? 'arm64' : 'x64',
        });
      bases.set(key, known);
      known.catch(() => bases.delete(key));
      return known;
    },
  });
  return { step, close: () => compressor.close() };
}
