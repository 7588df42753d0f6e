/** Wires the registry of images: where its blobs are, its database, its limit. */
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { EventBus } from '../core/events.ts';
import type { BlobStore } from '../oci/blobs/blob-store.ts';
import { diskBlobs } from '../oci/blobs/disk-blobs.ts';
import { s3Blobs } from '../oci/blobs/s3-blobs.ts';
import { createRegistry, type Registry, type RegistryOptions } from '../registry/registry.ts';
import { sqliteManifests } from '../registry/sqlite/manifest-store.ts';
import { openRegistryDatabase } from '../registry/sqlite/schema.ts';
import type { Settings } from './settings.ts';

const redirectSeconds = 15 * 60;

export function composeRegistry(
  settings: Settings,
  bus: EventBus,
  more: Pick<RegistryOptions, 'beginWork' | 'onMissing' | 'storedName' | 'readOnly'> = {},
): Registry {
  return createRegistry({
    blobs: composeBlobs(settings),
    manifests: sqliteManifests(openRegistryDatabase(join(settings.home, 'registry.db'))),
    maxBytes: settings['registry.maxBytes'],
    redirectSeconds: settings['registry.redirect'] ? redirectSeconds : null,
    emit: bus.emitter('registry'),
    ...more,
  });
}

function composeBlobs(settings: Settings): BlobStore {
  if (settings['registry.storage'] === 'disk') return diskBlobs(settings.home);
  const needed = (name: keyof Settings & `registry.s3.${string}`): string => {
    const value = settings[name];
    if (value !== null) return value;
    throw new BerthError('SETTING_INVALID', `Blobs in S3 need the setting \`${name}\`.`, {
      details: { setting: name },
    });
  };
  const region = settings['registry.s3.region'];
  const endpoint = settings['registry.s3.endpoint'] ?? `https://s3.${region}.amazonaws.com`;
  return s3Blobs({
    endpoint: `${endpoint.replace(/\/+$/, '')}/${needed('registry.s3.bucket')}`,
    region,
    accessKeyId: needed('registry.s3.accessKeyId'),
    secretAccessKey: needed('registry.s3.secretAccessKey'),
    stagingFolder: join(settings.home, 'blobs/uploads'),
  });
}
