/**
 * Berth's own rule. Engines share an unpacked layer only if all below it is the same too, so what counts is that images
 * share the beginnings of their stacks: every image stacks the same groups in the same published order, whatever it was
 * asked for with. A group's members always come together, so that its layer is the same blob in every image.
 */
import { type LayerRule, layersOf, indexClosure } from './closure-graph.ts';
import { type CanonicalOrder, indexOrder, packageNames, placeOf } from './canonical-order.ts';

interface Group {
  readonly members: number[];
  /** Decides which groups share the last layer: the published weight, so that it does not depend on the closure. */
  readonly weight: number;
  readonly place: number;
  readonly name: string;
}

/**
 * @param order the published order
 * @returns the rule. Packages that the order does not know get a layer each above the known ones, larger first by powers
 *   of two and then by name, so that these too stand in an order that does not depend on the config. Where there are
 *   more groups than layers, the lightest share the last layer.
 */
export function canonicalRule(order: CanonicalOrder): LayerRule {
  const index = indexOrder(order);
  return (closure, maxLayers) => {
    const indexed = indexClosure(closure);
    const groups = new Map<string, Group>();
    for (const [member, path] of indexed.paths.entries()) {
      const size = indexed.sizes[member] ?? 0;
      const place = placeOf(index, path);
      const key = place === undefined ? path : String(place);
      const group = groups.get(key);
      if (group) group.members.push(member);
      else {
        groups.set(key, {
          members: [member],
          weight: place === undefined ? size : (order.groups[place]?.[0] ?? 0),
          place: place ?? order.groups.length + 64 - Math.floor(Math.log2(size + 1)),
          name: place === undefined ? `${packageNames(path).at(-1) ?? ''} ${path}` : '',
        });
      }
    }
    const byWeight = [...groups.values()].sort((a, b) => b.weight - a.weight || inOrder(a, b));
    const alone = byWeight.length <= maxLayers ? byWeight.length : maxLayers - 1;
    const own = byWeight.slice(0, alone).sort(inOrder);
    const rest = byWeight.slice(alone).flatMap(({ members }) => members);
    return layersOf(indexed, [...own.map(({ members }) => members), rest]);
  };
}

function inOrder(a: Group, b: Group): number {
  return a.place - b.place || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}
