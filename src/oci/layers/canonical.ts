/**
 * Berth's own rule. Engines share an unpacked layer only if all below it is the same too, so what counts is that images
 * share the beginnings of their stacks: every image stacks the same groups in the same published order, whatever it was
 * asked for with. A group's members always come together, so that its layer is the same blob in every image.
 */
import { type LayerRule, layersOf, indexClosure } from './closure-graph.ts';
import { type CanonicalOrder, indexOrder, packageNames, placeOf } from './canonical-order.ts';

interface Group {
  readonly members: number[];
  /** Bytes, as published for a known group, so that they do not depend on the closure. */
  readonly weight: number;
  /** Learned place from the bottom, or Infinity. */
  readonly place: number;
  /** Tells groups without a place apart. */
  readonly name: string;
}

/**
 * @param order the published order
 * @returns the rule. Groups with a learned place come first. Above them stand those without one and each package that
 *   the order does not know, larger first by powers of two and then by name: an order that does not depend on the
 *   config either. Where there are more groups than layers, the lightest share the last layer.
 */
export function canonicalRule(order: CanonicalOrder): LayerRule {
  const index = indexOrder(order);
  return (closure, maxLayers) => {
    const indexed = indexClosure(closure);
    const groups = new Map<string, Group>();
    for (const [member, path] of indexed.paths.entries()) {
      const known = placeOf(index, path);
      const key = known === undefined ? path : String(known);
      const group = groups.get(key);
      if (group) group.members.push(member);
      else {
        groups.set(key, {
          members: [member],
          weight: known === undefined ? (indexed.sizes[member] ?? 0) : (order.groups[known]?.[0] ?? 0),
          place: known !== undefined && known < order.placed ? known : Infinity,
          name:
            known === undefined ? `${packageNames(path).at(-1) ?? ''} ${path}` : (order.groups[known]?.[1][0] ?? ''),
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
  if (a.place !== b.place) return a.place < b.place ? -1 : 1;
  if (a.place !== Infinity) return 0;
  return sizeClass(b.weight) - sizeClass(a.weight) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

function sizeClass(bytes: number): number {
  return Math.floor(Math.log2(bytes + 1));
}
