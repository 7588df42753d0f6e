/**
 * nix2container's rule (closure/popularity.go and nix/layers.go), which nixpkgs' dockerTools had before auto-layer: the
 * paths that most chains of references lead to get a layer each, and all others share the last.
 */
import { indexClosure, type LayerRule, layersOf } from './closure-graph.ts';

export const popularityRule: LayerRule = (closure, maxLayers) => {
  const indexed = indexClosure(closure);
  const popularity = indexed.paths.map(() => 1);
  for (const node of indexed.topological) {
    for (const target of indexed.references[node] ?? []) {
      popularity[target] = (popularity[target] ?? 0) + (popularity[node] ?? 0);
    }
  }
  const sorted = indexed.paths
    .map((_, index) => index)
    .sort((a, b) => (popularity[b] ?? 0) - (popularity[a] ?? 0) || a - b);
  const alone = sorted.length <= maxLayers ? sorted.length : maxLayers - 1;
  return layersOf(indexed, [...sorted.slice(0, alone).map((index) => [index]), sorted.slice(alone)]);
};
