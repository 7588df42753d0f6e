/** Begins to bring an image in whose layer never ends, says so, and waits to be killed. */
import { join } from 'node:path';
import { silent } from '../../src/core/events.ts';
import { imageStore } from '../../src/engine/embedded/images/image-store.ts';
import { imageForTests, layerOfTree } from '../../src/engine/image-for-tests.ts';

const directory = process.argv[2] ?? '';
const layer = await layerOfTree({ large: { content: Buffer.alloc(1_000_000) } });
const endless = {
  ...layer,
  async *open() {
    let first = true;
    for await (const piece of layer.open()) {
      yield piece;
      if (first) process.stdout.write('half\n');
      if (first) await new Promise((resolve) => setTimeout(resolve, 60_000));
      first = false;
    }
  },
};
const asRoot = process.getuid?.() === 0;
const store = imageStore({ directory: join(directory, 'images'), berths: join(directory, 'berths'), asRoot });
await store.load(imageForTests([endless]), { emit: silent });
