/** The rule that makes no choice: everything in one layer. */
import { indexClosure, type Layers, layersOf, type ClosureGraph } from './closure-graph.ts';

export function oneLayer(closure: ClosureGraph): Layers {
  const indexed = indexClosure(closure);
  return layersOf(indexed, [indexed.paths.map((_, index) => index)]);
}
