/** What the layer rules work on: a closure as a graph of store paths, and that graph in one canonical form. */

export interface ClosurePath {
  /** The store path. */
  readonly path: string;
  /** Its size in bytes, as the store counts it (the size of its NAR). */
  readonly narSize: number;
  /** The store paths that it refers to; itself may be among them. */
  readonly references: readonly string[];
}

export interface ClosureGraph {
  /** The paths that were asked for. */
  readonly roots: readonly string[];
  /** All paths of the closure, in any order. One that is there twice counts once. */
  readonly paths: readonly ClosurePath[];
}

/** Layers from the bottom of the stack up, each the store paths in it, sorted. Each path is in exactly one. */
export type Layers = readonly (readonly string[])[];

/**
 * Cuts a closure into layers. A rule is a pure function: the same closure gives the same layers on every host and for
 * every order of its paths and roots.
 * @param maxLayers at most this many layers, at least 1
 */
export type LayerRule = (closure: ClosureGraph, maxLayers: number) => Layers;

/** A closure by indices: paths sorted, references within the closure only, none to itself and no cycle. */
export interface IndexedClosure {
  readonly paths: readonly string[];
  readonly sizes: readonly number[];
  readonly references: readonly (readonly number[])[];
  readonly roots: readonly number[];
  /** Every path before all that it refers to. */
  readonly topological: readonly number[];
}

/**
 * Brings a closure into its canonical form. Stores have no cycles between paths; where another graph has one, the edge
 * that closes it, met in a walk in the order of the paths, is left out.
 */
export function indexClosure(closure: ClosureGraph): IndexedClosure {
  const byPath = new Map(closure.paths.map((path) => [path.path, path]));
  const paths = [...byPath.keys()].sort();
  const indexOf = new Map(paths.map((path, index) => [path, index]));
  const known = (list: readonly string[]) => [
    ...new Set(list.map((path) => indexOf.get(path)).filter((index) => index !== undefined)),
  ];
  const all = paths.map((path, index) =>
    known(byPath.get(path)?.references ?? [])
      .filter((target) => target !== index)
      .sort((a, b) => a - b),
  );
  const { references, topological } = withoutCycles(all);
  return {
    paths,
    sizes: paths.map((path) => byPath.get(path)?.narSize ?? 0),
    references,
    roots: known(closure.roots).sort((a, b) => a - b),
    topological,
  };
}

/** A depth-first walk with a stack of its own, since closures can be deeper than the call stack. */
function withoutCycles(all: readonly (readonly number[])[]) {
  const references: number[][] = all.map(() => []);
  const state = new Uint8Array(all.length); // 0 unseen, 1 on the walk, 2 done
  const done: number[] = [];
  for (let start = 0; start < all.length; start += 1) {
    if (state[start] !== 0) continue;
    const walk = [{ node: start, next: 0 }];
    state[start] = 1;
    for (let top = walk.at(-1); top; top = walk.at(-1)) {
      const target = all[top.node]?.[top.next];
      top.next += 1;
      if (target === undefined) {
        state[top.node] = 2;
        done.push(top.node);
        walk.pop();
      } else if (state[target] !== 1) {
        references[top.node]?.push(target);
        if (state[target] === 0) {
          state[target] = 1;
          walk.push({ node: target, next: 0 });
        }
      }
    }
  }
  return { references, topological: done.reverse() };
}

/** @returns for each path the paths below it, itself not among them */
export function transitiveReferences(closure: IndexedClosure): ReadonlySet<number>[] {
  const below: Set<number>[] = closure.paths.map(() => new Set());
  for (const node of [...closure.topological].reverse()) {
    const mine = below[node];
    for (const target of closure.references[node] ?? []) {
      mine?.add(target);
      for (const deeper of below[target] ?? []) mine?.add(deeper);
    }
  }
  return below;
}

/** @returns the layers in the rule's form: names instead of indices, sorted, none empty */
export function layersOf(closure: IndexedClosure, layers: readonly (readonly number[])[]): Layers {
  return layers
    .filter((layer) => layer.length > 0)
    .map((layer) => [...layer].sort((a, b) => a - b).map((index) => closure.paths[index] ?? ''));
}
