/**
 * Compares the rules that cut closures into layers, on corpora of seeded random configs over real Debian closures: how
 * many bytes a registry keeps (different blobs) and how many an engine with overlays keeps (different ChainIDs), over
 * the bytes of the union of all paths.  npx vite-node bench/layers.ts
 */
import { autoLayerRule } from '../src/oci/layers/auto-layer.ts';
import { canonicalRule } from '../src/oci/layers/canonical.ts';
import type { CanonicalOrder } from '../src/oci/layers/canonical-order.ts';
import type { ClosureGraph, LayerRule } from '../src/oci/layers/closure-graph.ts';
import { corpusFigures, type CorpusFigures } from '../src/oci/layers/corpus-figures.ts';
import { nixeryRule } from '../src/oci/layers/nixery.ts';
import { oneLayer } from '../src/oci/layers/one-layer.ts';
import { debianBookworm } from '../src/oci/layers/orders/debian-bookworm.ts';
import { popularityRule } from '../src/oci/layers/popularity.ts';
import {
  type CorpusOptions,
  defaultCorpus,
  drawCorpus,
  packageOf,
  readPackageGraph,
} from './support/debian-closures.ts';
import { series, writeResult } from './support/measure.ts';

const cap = 100;
const graph = readPackageGraph();
const nameOf = packageOf(graph);

const referrers = new Map<string, number>();
for (const { references } of graph.paths.values()) {
  for (const target of references) referrers.set(target, (referrers.get(target) ?? 0) + 1);
}

const corpus = (seed: number, options: Partial<CorpusOptions> = {}) =>
  drawCorpus(graph, { ...defaultCorpus, seed, ...options }).closures;
/** None of these was learned from: bench/learn-layer-order.ts takes seeds from 1000. */
const heldOutSeeds = [1, 2, 3, 4, 5];
const heldOut = heldOutSeeds.map((seed) => corpus(seed));
const trained = [1000, 1001, 1002].map((seed) => corpus(seed));

/** One package a layer in one fixed order, by what the corpora that are learned from say: what a simple order gives. */
function simpleOrder(value: (count: number, size: number) => number): CanonicalOrder {
  const counts = new Map<string, { count: number; size: number }>();
  for (const { path, narSize } of trained.flat().flatMap((closure) => closure.paths)) {
    const name = nameOf(path);
    counts.set(name, { count: (counts.get(name)?.count ?? 0) + 1, size: narSize });
  }
  const sorted = [...counts].sort(([a, left], [b, right]) => {
    return value(right.count, right.size) - value(left.count, left.size) || (a < b ? -1 : 1);
  });
  return {
    name: 'simple',
    version: 1,
    placed: sorted.length,
    groups: sorted.map(([name, { size }]) => [size, [name]]),
  };
}

const rules: Record<string, LayerRule> = {
  oneLayer,
  nixery: nixeryRule({ popularityOf: (path) => referrers.get(path) ?? 1 }),
  nix2container: popularityRule,
  autoLayer: autoLayerRule,
  fixedByPopularity: canonicalRule(simpleOrder((count) => count)),
  fixedBySizeTimesPopularity: canonicalRule(simpleOrder((count, size) => count * size)),
  berth: canonicalRule(debianBookworm),
};

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const round = (value: number) => Math.round(value * 100) / 100;
const figures: Record<string, number> = {};
const note = (name: string, results: readonly CorpusFigures[]) => {
  figures[`${name}.blobs`] = round(mean(results.map((result) => result.blobRatio)));
  figures[`${name}.chains`] = round(mean(results.map((result) => result.chainRatio)));
  figures[`${name}.chainsWorst`] = round(Math.max(...results.map((result) => result.chainRatio)));
  figures[`${name}.layersMean`] = round(mean(results.map((result) => result.meanLayers)));
  figures[`${name}.layersMost`] = Math.max(...results.map((result) => result.maxLayers));
};

const times: Record<string, number[]> = {};
for (const [name, rule] of Object.entries(rules)) {
  note(
    `heldOut.${name}`,
    heldOut.map((closures) => corpusFigures(rule, closures, cap)),
  );
  times[name] = heldOut[0]?.slice(0, 100).map((closure) => timeOf(rule, closure)) ?? [];
}
note(
  'learnedOn.berth',
  trained.map((closures) => corpusFigures(canonicalRule(debianBookworm), closures, cap)),
);
for (const fewer of [125, 60, 40, 20]) {
  note(
    `heldOut.berth.atMost${fewer}`,
    heldOut.map((closures) => corpusFigures(canonicalRule(debianBookworm), closures, fewer)),
  );
}
// What becomes of the order when users are not as it was learned.
const other: Record<string, Partial<CorpusOptions>> = {
  flatterPopularity: { exponent: 0.7 },
  steeperPopularity: { exponent: 1.3 },
  smallerConfigs: { picks: [2, 5] },
  largerConfigs: { picks: [5, 12] },
  packagesNeverSeen: { packages: 200 },
  images100: { configs: 100 },
  images1000: { configs: 1000 },
};
for (const [name, options] of Object.entries(other)) {
  const closures = [901, 902].map((seed) => corpus(seed, options));
  for (const rule of ['autoLayer', 'fixedBySizeTimesPopularity', 'berth']) {
    note(
      `${name}.${rule}`,
      closures.map((some) => corpusFigures(rules[rule] ?? oneLayer, some, cap)),
    );
  }
}

function timeOf(rule: LayerRule, closure: ClosureGraph): number {
  const start = performance.now();
  rule(closure, cap);
  return performance.now() - start;
}

const blobs = figures['heldOut.berth.blobs'] ?? Infinity;
const chains = figures['heldOut.berth.chains'] ?? Infinity;
writeResult({
  bench: 'layers',
  question: 'How many bytes do registries and engines keep for many images of one package set, by layer rule?',
  series: Object.fromEntries(
    Object.entries(times).map(([name, samples]) => [
      name,
      series(`${name}: cut one closure into layers`, 'ms', samples),
    ]),
  ),
  figures,
  bounds: [
    { what: 'unique blob bytes over union bytes, held-out corpora', bound: '<= 1.5', met: blobs <= 1.5 },
    { what: 'unique ChainID bytes over union bytes, held-out corpora', bound: '<= 9', met: chains <= 9 },
    { what: 'the same, aimed at', bound: '<= 8', met: chains <= 8 },
    {
      what: 'ChainID bytes against the best other rule on the same corpora',
      bound: 'less',
      met: Object.keys(rules).every((name) => name === 'berth' || (figures[`heldOut.${name}.chains`] ?? 0) > chains),
    },
  ],
  notes: [
    graph.origin,
    `${heldOutSeeds.length} held-out corpora of ${defaultCorpus.configs} configs, ${defaultCorpus.picks.join(' to ')} of ` +
      `${defaultCorpus.packages} packages by Zipf's law with exponent ${defaultCorpus.exponent}; at most ${cap} layers.`,
    'A layer holds nothing that its image does not need, so no ratio is bought with larger images.',
    `Order ${debianBookworm.name} version ${debianBookworm.version}, ${debianBookworm.groups.length} groups.`,
  ],
});
