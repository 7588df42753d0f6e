/** A registry in a temporary folder, and the requests that tests make of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { canonicalJson, type Digest, digestOf } from '../core/digest.ts';
import { diskBlobs } from '../oci/blobs/disk-blobs.ts';
import { mediaTypes } from '../oci/media-types.ts';
import { createRegistry, type Registry, type RegistryOptions } from './registry.ts';
import { sqliteManifests } from './sqlite/manifest-store.ts';
import { openRegistryDatabase } from './sqlite/schema.ts';

export interface TestRegistry extends Registry {
  readonly folder: string;
  send(method: string, path: string, body?: string | Uint8Array, headers?: Record<string, string>): Promise<Response>;
  /** Pushes a blob in one request. */
  pushBlob(repository: string, bytes: string | Uint8Array): Promise<Digest>;
  /** Pushes an image whose layers have this content. @returns its manifest's digest */
  pushImage(repository: string, tag: string, layers: readonly (string | Uint8Array)[]): Promise<Digest>;
  /** Ends it as a crash would, as far as one process can, and opens it again. */
  reopen(options?: Partial<RegistryOptions>): Promise<TestRegistry>;
  destroy(): Promise<void>;
}

export function openTestRegistry(
  options: Partial<RegistryOptions> = {},
  folder = mkdtempSync(join(tmpdir(), 'berth-registry-')),
): TestRegistry {
  const registry = createRegistry({
    blobs: diskBlobs(folder),
    manifests: sqliteManifests(openRegistryDatabase(join(folder, 'registry.db'))),
    onError: (error) => {
      throw error;
    },
    ...options,
  });
  const send: TestRegistry['send'] = (method, path, body, headers = {}) => {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    return registry.fetch(
      new Request(`http://registry${path}`, {
        method,
        ...(bytes ? { body: bytes } : {}),
        headers: { ...(bytes ? { 'Content-Length': String(bytes.length) } : {}), ...headers },
      }),
    );
  };
  const pushBlob = async (repository: string, bytes: string | Uint8Array): Promise<Digest> => {
    const digest = digestOf(bytes);
    const response = await send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, bytes);
    expect(response.status, await response.clone().text()).toBe(201);
    return digest;
  };
  return {
    ...registry,
    folder,
    send,
    pushBlob,
    async pushImage(repository, tag, layers) {
      const descriptors = [];
      for (const layer of layers) {
        const digest = await pushBlob(repository, layer);
        descriptors.push({ mediaType: mediaTypes.layer, digest, size: Buffer.from(layer).length });
      }
      const config = canonicalJson({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } });
      const manifest = canonicalJson({
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: {
          mediaType: mediaTypes.config,
          digest: await pushBlob(repository, config),
          size: Buffer.byteLength(config),
        },
        layers: descriptors,
      });
      const response = await send('PUT', `/v2/${repository}/manifests/${tag}`, manifest, {
        'Content-Type': mediaTypes.manifest,
      });
      expect(response.status, await response.clone().text()).toBe(201);
      return digestOf(manifest);
    },
    async reopen(more = {}) {
      await registry.close();
      return openTestRegistry({ ...options, ...more }, folder);
    },
    async destroy() {
      await registry.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @returns the error codes of an answer */
export async function codesOf(response: Response): Promise<string[]> {
  const body = (await response.json()) as { errors: { code: string }[] };
  return body.errors.map(({ code }) => code);
}
