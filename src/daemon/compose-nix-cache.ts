/** Wires the store's binary cache. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Nix } from '../nix/nix.ts';
import { physicalStoreDirectory } from '../nix/store.ts';
import { Compressor } from '../oci/layer/compressor.ts';
import { createNixCache, type NixCache } from '../registry/nix-cache/nix-cache.ts';
import { openSigningKey } from '../registry/nix-cache/signing-key.ts';
import { createUploads } from '../registry/nix-cache/uploads.ts';
import type { Settings } from './settings.ts';

export function composeNixCache(settings: Settings, nix: Nix): NixCache {
  // Its threads start with the first NAR that is packed.
  let compressor: Compressor | undefined;
  return createNixCache({
    physicalStore: physicalStoreDirectory(nix.store),
    pathInfo: (hashPart) => nix.pathInfo(hashPart),
    signingKey: () =>
      openSigningKey(
        settings['nixCache.secretKeyFile'] ?? join(settings.home, 'nix/cache-key.sec'),
        `berth-${hostname()}-1`,
      ),
    compression: settings['nixCache.compression'],
    compress: (nar) => (compressor ??= new Compressor()).compress(nar, 'zstd'),
    basePath: '/nix-cache',
    ...(settings['nixCache.upload']
      ? {
          uploads: createUploads(join(settings.home, 'nix/uploads'), {
            // Who may call at all is the daemon's to decide; what is uploaded counts as this store's own.
            copyIn: (folder, path, signal) =>
              nix.copyFromCache(`file://${folder}`, [path], {
                recursive: false,
                trust: 'all',
                ...(signal ? { signal } : {}),
              }),
            validPaths: (paths) => nix.validPaths(paths),
          }),
        }
      : {}),
  });
}
