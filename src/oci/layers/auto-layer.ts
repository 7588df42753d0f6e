/**
 * nixpkgs' rule since late 2024 (pkgs/build-support/docker/auto-layer.py): the largest paths are taken as primary one
 * after the other, and paths that the same nearest primaries lead to share a layer, until there are too many layers.
 */
import { indexClosure, type LayerRule, layersOf, transitiveReferences } from './closure-graph.ts';

export const autoLayerRule: LayerRule = (closure, maxLayers) => {
  const indexed = indexClosure(closure);
  const below = transitiveReferences(indexed);
  const users: Set<number>[] = indexed.paths.map(() => new Set());
  for (const [user, targets] of below.entries()) for (const target of targets) users[target]?.add(user);

  const bySize = indexed.paths
    .map((_, index) => index)
    .sort((a, b) => (indexed.sizes[b] ?? 0) - (indexed.sizes[a] ?? 0) || a - b);
  let ids: readonly (readonly number[])[] = indexed.paths.map(() => []);
  for (const primary of bySize) {
    const next = [...ids];
    next[primary] = [primary];
    for (const target of below[primary] ?? []) {
      const kept = (ids[target] ?? []).filter((id) => users[primary]?.has(id) !== true);
      const nearer = kept.some((id) => below[primary]?.has(id));
      next[target] = nearer ? kept : [...kept, primary];
    }
    if (new Set(next.map(nameOf)).size > maxLayers) break;
    ids = next;
  }

  const layers = new Map<string, number[]>();
  for (const [index, id] of ids.entries()) {
    const name = nameOf(id);
    layers.set(name, [...(layers.get(name) ?? []), index]);
  }
  const closureSize = (members: readonly number[]) => {
    const all = new Set(members.flatMap((index) => [index, ...(below[index] ?? [])]));
    return [...all].reduce((sum, index) => sum + (indexed.sizes[index] ?? 0), 0);
  };
  const sorted = [...layers.values()]
    .map((members) => ({ members, size: closureSize(members) }))
    .sort((a, b) => a.size - b.size || (a.members[0] ?? 0) - (b.members[0] ?? 0));
  return layersOf(
    indexed,
    sorted.map(({ members }) => members),
  );
};

function nameOf(id: readonly number[]): string {
  return [...id].sort((a, b) => a - b).join(' ');
}
