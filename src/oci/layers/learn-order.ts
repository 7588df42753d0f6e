/**
 * Learns a canonical order from closures that were seen. Packages that always come together form a group. A group's cost
 * is its size times the number of different stacks that it stands on, which depends only on the set of groups below it,
 * not on their order; so the best place for one group, all others kept, is found exactly in one pass, and groups are
 * moved to their best places until no move helps (local search by best insertion).
 */
import type { CanonicalOrder } from './canonical-order.ts';

export interface SeenPackage {
  readonly name: string;
  readonly size: number;
}

/** The packages of one image's closure. */
export type SeenClosure = readonly SeenPackage[];

export interface LearnOptions {
  readonly name: string;
  readonly version: number;
  /** How many layers a learned image may have in learned places; the lighter groups stand above. Default 90. */
  readonly maxPlaced?: number;
  /** Sweeps over all groups at most; it usually ends after four or five. */
  readonly sweeps?: number;
  /** Called after each sweep with the mean ratio of ChainID bytes to union bytes. */
  readonly onSweep?: (chainRatio: number) => void;
}

/**
 * @param corpora sets of images, each the images of one host: sharing is counted within each, and the mean is lowered
 * @returns the order, the same for the same input
 */
export function learnOrder(corpora: readonly (readonly SeenClosure[])[], options: LearnOptions): CanonicalOrder {
  const groups = groupTogether(corpora.flat());
  const problem = problemOf(corpora, groups);
  const { heavy, light } = byWeight(problem, options.maxPlaced ?? 90);
  let order = [...heavy].sort(
    (a, b) =>
      (problem.sizes[b] ?? 0) * (problem.members[b]?.length ?? 0) -
        (problem.sizes[a] ?? 0) * (problem.members[a]?.length ?? 0) || a - b,
  );
  const random = generator(1);
  let cost = Infinity;
  for (let sweep = 0; sweep < (options.sweeps ?? 12); sweep += 1) {
    const before = cost;
    for (const group of shuffled(order, random)) {
      const rest = order.filter((other) => other !== group);
      const best = bestInsertion(problem, rest, group, order.indexOf(group));
      cost = best.cost;
      order = [...rest.slice(0, best.place), group, ...rest.slice(best.place)];
    }
    options.onSweep?.(cost);
    if (before - cost < 1e-3) break;
  }
  return {
    name: options.name,
    version: options.version,
    placed: heavy.length,
    groups: [...order, ...light].map((group) => [Math.round(problem.sizes[group] ?? 0), [...(groups[group] ?? [])]]),
  };
}

/** @returns names in groups of those that are in exactly the same closures; sorted within and without */
function groupTogether(closures: readonly SeenClosure[]): string[][] {
  const seenIn = new Map<string, number[]>();
  for (const [index, closure] of closures.entries()) {
    for (const name of new Set(closure.map((seen) => seen.name))) {
      const list = seenIn.get(name);
      if (list) list.push(index);
      else seenIn.set(name, [index]);
    }
  }
  const groups = new Map<string, string[]>();
  for (const name of [...seenIn.keys()].sort()) {
    const key = seenIn.get(name)?.join() ?? '';
    const group = groups.get(key);
    if (group) group.push(name);
    else groups.set(key, [name]);
  }
  return [...groups.values()];
}

interface Problem {
  /** Mean bytes of a group where it is. */
  readonly sizes: readonly number[];
  /** The closures that a group is in. */
  readonly members: readonly Int32Array[];
  /** Closure to its corpus. */
  readonly corpusOf: Int32Array;
  /** What a byte of a stack costs: one over the corpus' union, so that corpora count alike. */
  readonly byteCost: Float64Array;
}

function problemOf(corpora: readonly (readonly SeenClosure[])[], groups: readonly (readonly string[])[]): Problem {
  const groupOf = new Map(groups.flatMap((names, group) => names.map((name) => [name, group])));
  const members: number[][] = groups.map(() => []);
  const totals = groups.map(() => 0);
  const corpusOf: number[] = [];
  const byteCost: number[] = [];
  let closureIndex = 0;
  for (const [corpus, closures] of corpora.entries()) {
    const union = new Map<string, number>();
    for (const closure of closures) {
      for (const group of new Set(closure.map(({ name }) => groupOf.get(name) ?? -1)))
        members[group]?.push(closureIndex);
      for (const { name, size } of closure) {
        union.set(name, size);
        const group = groupOf.get(name) ?? -1;
        totals[group] = (totals[group] ?? 0) + size;
      }
      corpusOf.push(corpus);
      closureIndex += 1;
    }
    const bytes = [...union.values()].reduce((sum, size) => sum + size, 0);
    byteCost.push(...closures.map(() => 1 / bytes / corpora.length));
  }
  return {
    sizes: totals.map((total, group) => total / (members[group]?.length ?? 1)),
    members: members.map((list) => Int32Array.from(list)),
    corpusOf: Int32Array.from(corpusOf),
    byteCost: Float64Array.from(byteCost),
  };
}

/**
 * Tells the groups that are worth a learned place from light ones. An image with more groups than layers puts its
 * lightest together; if those stood among the others, its stack would leave the common one at the first of them. So the
 * lightest stand above all others in every image.
 */
function byWeight(problem: Problem, maxPlaced: number): { heavy: number[]; light: number[] } {
  const sorted = [...problem.sizes.keys()].sort((a, b) => (problem.sizes[b] ?? 0) - (problem.sizes[a] ?? 0) || a - b);
  const placed = problem.corpusOf.map(() => 0);
  let over = 0;
  const full = sorted.findIndex((group) => {
    const members = problem.members[group] ?? new Int32Array();
    for (const closure of members) placed[closure] = (placed[closure] ?? 0) + 1;
    for (const closure of members) if (placed[closure] === maxPlaced + 1) over += 1;
    return over > placed.length * mostOver;
  });
  const count = full === -1 ? sorted.length : full;
  return { heavy: sorted.slice(0, count), light: sorted.slice(count) };
}

/** The share of images that may have more learned places than that: a few very large ones must not decide for all. */
const mostOver = 0.01;

/** Sorts closures by the stack that they have so far: equal numbers, equal stacks. Grows upwards, layer by layer. */
class Stacks {
  readonly #problem: Problem;
  readonly #stackOf: Int32Array;
  #next: number;
  /** Old stack to the new one upon it, valid where the stamp is this layer's. */
  readonly #upon: Int32Array;
  readonly #stamp: Int32Array;
  #layer = 0;

  constructor(problem: Problem) {
    this.#problem = problem;
    // Each group makes at most one new stack a closure that it is in, and one group is put twice.
    this.#stackOf = Int32Array.from(problem.corpusOf);
    this.#next = (problem.corpusOf.at(-1) ?? 0) + 1;
    const most = this.#next + problem.members.reduce((sum, list) => sum + list.length, 0) * 2;
    this.#upon = new Int32Array(most);
    this.#stamp = new Int32Array(most);
  }

  /** @returns what the group costs if it is put onto the stacks now; with `put`, it is put there */
  cost(group: number, put: boolean): number {
    const closures = this.#problem.members[group] ?? new Int32Array();
    this.#layer += 1;
    let copies = 0;
    for (const closure of closures) {
      const stack = this.#stackOf[closure] ?? 0;
      if (this.#stamp[stack] !== this.#layer) {
        this.#stamp[stack] = this.#layer;
        copies += this.#problem.byteCost[closure] ?? 0;
        if (put) this.#upon[stack] = this.#next++;
      }
      if (put) this.#stackOf[closure] = this.#upon[stack] ?? 0;
    }
    return copies * (this.#problem.sizes[group] ?? 0);
  }
}

/** @returns the place in `rest` at which the group makes the whole cheapest (the present one where none is cheaper) */
function bestInsertion(problem: Problem, rest: readonly number[], group: number, present: number) {
  const without = new Stacks(problem);
  const withIt = new Stacks(problem);
  withIt.cost(group, true);
  const own: number[] = [];
  const before: number[] = [];
  const after: number[] = [];
  for (const other of rest) {
    own.push(without.cost(group, false));
    before.push(without.cost(other, true));
    after.push(withIt.cost(other, true));
  }
  own.push(without.cost(group, false));
  let others = after.reduce((sum, cost) => sum + cost, 0);
  const costs = own.map((cost, place) => {
    const total = others + cost;
    others += (before[place] ?? 0) - (after[place] ?? 0);
    return total;
  });
  let place = present;
  for (const [candidate, cost] of costs.entries()) if (cost < (costs[place] ?? Infinity) - 1e-9) place = candidate;
  return { place, cost: costs[place] ?? Infinity };
}

function shuffled(list: readonly number[], random: () => number): number[] {
  const copy = [...list];
  for (let last = copy.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [copy[last], copy[other]] = [copy[other] ?? 0, copy[last] ?? 0];
  }
  return copy;
}

/** A linear congruential generator (Numerical Recipes' constants): enough to shuffle, and the same everywhere. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
