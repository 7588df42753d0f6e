/**
 * Nixery's rule (layers/layers.go; tazj.in/blog/nixery-layers): each subtree of the dominator tree that hangs from its
 * root is a layer; popular and large paths are hung there too. What is over the budget goes into one catch-all layer.
 */
import { type IndexedClosure, indexClosure, type LayerRule, layersOf, transitiveReferences } from './closure-graph.ts';

export interface NixeryOptions {
  /** How many paths of the whole package set refer to the path directly; 1 when not known. */
  readonly popularityOf: (path: string) => number;
}

const largeClosure = 100_000_000;
const popular = 100;

/** @returns the rule for some data of popularity */
export function nixeryRule({ popularityOf }: NixeryOptions): LayerRule {
  return (closure, maxLayers) => {
    const indexed = indexClosure(closure);
    const below = transitiveReferences(indexed);
    const size = (index: number) => indexed.sizes[index] ?? 0;
    const closureSizes = below.map((set, index) => [...set].reduce((sum, target) => sum + size(target), size(index)));
    const popularity = indexed.paths.map((path) => popularityOf(path));

    const hung = new Set(indexed.roots);
    for (const index of indexed.paths.keys()) {
      if ((closureSizes[index] ?? 0) > largeClosure || (popularity[index] ?? 0) >= popular) hung.add(index);
    }
    const dominators = immediateDominators(indexed, hung);
    const layers = new Map<number, { members: number[]; rating: number }>();
    for (const index of indexed.topological) {
      let top = index;
      for (let above = dominators[top]; above !== undefined && above !== root; above = dominators[top]) top = above;
      const layer = layers.get(top) ?? { members: [], rating: 0 };
      layer.members.push(index);
      layer.rating += (popularity[top] ?? 1) * (closureSizes[index] ?? 0);
      layers.set(top, layer);
    }
    const sorted = [...layers]
      .sort(([a, left], [b, right]) => left.rating - right.rating || a - b)
      .map(([, layer]) => layer);
    while (sorted.length > maxLayers) {
      const [first, second] = sorted.splice(0, 2);
      if (!first || !second) break;
      // Not sorted again: so the merged layer takes in all that follows, as in Nixery.
      sorted.unshift({ members: [...first.members, ...second.members], rating: first.rating + second.rating });
    }
    sorted.sort((a, b) => b.rating - a.rating || Math.min(...a.members) - Math.min(...b.members));
    return layersOf(
      indexed,
      sorted.map((layer) => layer.members),
    );
  };
}

/** Stands for the virtual root, above all paths. */
const root = -1;

/**
 * Immediate dominators by one pass in topological order, which is enough in a graph without cycles (Cooper, Harvey and
 * Kennedy, "A Simple, Fast Dominance Algorithm").
 */
function immediateDominators(closure: IndexedClosure, hung: ReadonlySet<number>): number[] {
  const dominator = new Array<number | undefined>(closure.paths.length);
  const depth = new Array<number>(closure.paths.length).fill(0);
  const meet = (a: number, b: number): number => {
    let [left, right] = [a, b];
    while (left !== right) {
      if (left === root || right === root) return root;
      if ((depth[left] ?? 0) >= (depth[right] ?? 0)) left = dominator[left] ?? root;
      else right = dominator[right] ?? root;
    }
    return left;
  };
  for (const index of hung) dominator[index] = root;
  for (const node of closure.topological) {
    // A path that no root leads to hangs from the virtual root too.
    const own = (dominator[node] ??= root);
    depth[node] = own === root ? 1 : (depth[own] ?? 0) + 1;
    for (const target of closure.references[node] ?? []) {
      const known = dominator[target];
      dominator[target] = known === undefined ? node : meet(known, node);
    }
  }
  return dominator.map((own) => own ?? root);
}
