/** What a rule costs on a corpus of images: the bytes that a registry keeps, and those that engines keep unpacked. */
import type { ClosureGraph, LayerRule } from './closure-graph.ts';

export interface CorpusFigures {
  /** Bytes of the union of store paths: less is not possible. */
  readonly unionBytes: number;
  /** Bytes of different layers, over the union: what a registry, or an engine that unpacks each layer once, keeps. */
  readonly blobRatio: number;
  /** Bytes of different layers with what is below them (ChainIDs), over the union: what overlay engines keep. */
  readonly chainRatio: number;
  readonly meanLayers: number;
  readonly maxLayers: number;
}

/** Applies a rule to each closure and adds up what is different. */
export function corpusFigures(rule: LayerRule, closures: readonly ClosureGraph[], maxLayers: number): CorpusFigures {
  const sizes = new Map<string, number>();
  const blobs = new Map<string, number>();
  let chainBytes = 0;
  /** A tree of stacks: each node a layer upon those above it. */
  interface Node {
    readonly next: Map<string, Node>;
  }
  const top: Node = { next: new Map() };
  const counts: number[] = [];
  for (const closure of closures) {
    for (const { path, narSize } of closure.paths) sizes.set(path, narSize);
    const layers = rule(closure, maxLayers);
    counts.push(layers.length);
    let node = top;
    for (const layer of layers) {
      const key = layer.join('\n');
      let bytes = blobs.get(key);
      if (bytes === undefined) {
        bytes = layer.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
        blobs.set(key, bytes);
      }
      let next = node.next.get(key);
      if (!next) {
        next = { next: new Map() };
        node.next.set(key, next);
        chainBytes += bytes;
      }
      node = next;
    }
  }
  const total = (values: Iterable<number>) => [...values].reduce((sum, value) => sum + value, 0);
  const unionBytes = total(sizes.values());
  return {
    unionBytes,
    blobRatio: total(blobs.values()) / unionBytes,
    chainRatio: chainBytes / unionBytes,
    meanLayers: total(counts) / counts.length,
    maxLayers: Math.max(...counts),
  };
}
