/**
 * A registry in a process of its own, so that tests can kill it and benches can weigh it:
 *   vite-node test/registry/serve.ts FOLDER [PORT] [MAX_BYTES] [TOKEN]
 * Prints its port when it answers.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { authenticated } from '../../src/daemon/authentication.ts';
import { diskBlobs } from '../../src/oci/blobs/disk-blobs.ts';
import { nodeListener } from '../../src/registry/node-listener.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { sqliteManifests } from '../../src/registry/sqlite/manifest-store.ts';
import { openRegistryDatabase } from '../../src/registry/sqlite/schema.ts';

const [folder = '', port = '0', maxBytes = '', token = ''] = process.argv.slice(2);
const registry = createRegistry({
  blobs: diskBlobs(folder),
  manifests: sqliteManifests(openRegistryDatabase(join(folder, 'registry.db'))),
  ...(maxBytes === '' ? {} : { maxBytes: Number(maxBytes) }),
  onError: (error) => console.error(error),
});
const fetch = authenticated((request) => registry.fetch(request), { token: token || null, loopbackOnly: token === '' });
const server = createServer({ requestTimeout: 0 }, nodeListener(fetch));
server.listen(Number(port), '127.0.0.1', () => {
  const address = server.address();
  console.log(`port ${typeof address === 'object' && address ? address.port : port}`);
});
