/**
 * Learns the published order of layers from Debian closures and writes it to src/oci/layers/orders/. Run it when a new
 * version is to be published:  npx vite-node bench/learn-layer-order.ts [SUITE [VERSION [CORPORA]]]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { learnOrder } from '../src/oci/layers/learn-order.ts';
import { defaultCorpus, drawCorpus, packageOf, readPackageGraph } from './support/debian-closures.ts';

const suite = process.argv[2] ?? 'bookworm';
const version = Number(process.argv[3] ?? 1);
/** Seeds of the corpora to learn from; bench/layers.ts takes others to compare on. */
const seeds = Array.from({ length: Number(process.argv[4] ?? 30) }, (_, index) => 1000 + index);

const graph = readPackageGraph(suite);
const nameOf = packageOf(graph);
const corpora = seeds.map((seed) =>
  drawCorpus(graph, { ...defaultCorpus, seed }).closures.map((closure) =>
    closure.paths.map(({ path, narSize }) => ({ name: nameOf(path), size: narSize })),
  ),
);
const order = learnOrder(corpora, {
  name: `debian-${suite}`,
  version,
  ...(process.argv[5] === undefined ? {} : { maxPlaced: Number(process.argv[5]) }),
  onSweep: (ratio) => console.log(`ChainID bytes over union bytes, learned on: ${ratio.toFixed(3)}`),
});

const constant = `debian${suite.charAt(0).toUpperCase()}${suite.slice(1)}`;
const folder = resolve(import.meta.dirname, '../src/oci/layers/orders');
mkdirSync(folder, { recursive: true });
const groups = order.groups.map(([weight, names]) => `  [${weight}, ${JSON.stringify(names.join(' '))}.split(' ')],`);
writeFileSync(
  resolve(folder, `debian-${suite}.ts`),
  `/**
 * The order of layers for Debian ${suite}, version ${order.version}: written by bench/learn-layer-order.ts, not by hand.
 * Learned from ${graph.origin}; ${seeds.length} corpora of ${defaultCorpus.configs} configs.
 */
import type { CanonicalOrder } from '../canonical-order.ts';

export const ${constant}: CanonicalOrder = {
  name: '${order.name}',
  version: ${order.version},
  placed: ${order.placed},
  // prettier-ignore
  groups: [
${groups.map((line) => `  ${line}`).join('\n')}
  ],
};
`,
);
