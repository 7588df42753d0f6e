/**
 * The published order of layers: groups of packages that come together, in the one order in which every image stacks
 * them. It is data with a name and a version, learned once from many closures (learn-order.ts), so that the same closure
 * has the same layers wherever and whenever they are made.
 */
import { z } from 'zod';

export const canonicalOrderSchema = z.object({
  /** What it was learned from: `debian-bookworm`. */
  name: z.string(),
  /** Raised whenever it is learned anew; a digest belongs to one version. */
  version: z.number().int().positive(),
  /** How many of the groups, from the bottom, have a learned place; the others are light and stand above by weight. */
  placed: z.number().int().nonnegative(),
  /** From the bottom of the stack up: a group's weight in bytes, and the names of its packages. */
  groups: z.array(z.tuple([z.number(), z.array(z.string())])),
});

export type CanonicalOrder = z.infer<typeof canonicalOrderSchema>;

/** Which group each package is in. */
export interface OrderIndex {
  readonly order: CanonicalOrder;
  /** Package name to the group's place. */
  readonly groupOf: ReadonlyMap<string, number>;
}

export function indexOrder(order: CanonicalOrder): OrderIndex {
  const groupOf = new Map<string, number>();
  for (const [place, [, names]] of order.groups.entries()) for (const name of names) groupOf.set(name, place);
  return { order, groupOf };
}

/** Names of outputs that nixpkgs puts after the version: `glibc-2.40-66-dev` is another package than `glibc-2.40-66`. */
const outputPattern = /-(bin|dev|lib|libgcc|man|doc|devdoc|info|debug|static|data|dist|py|terminfo|getent)$/;

/**
 * The package names that a store path may stand for. `NAME-VERSION` has no one reading where names hold digits
 * (`gcc-12-base-12.2.0-14`), so all are given, the longest first; an order picks the first that it knows.
 * @returns names, with `:OUTPUT` after one of an output; the shortest, Nix's own reading, is the last
 */
export function packageNames(storePath: string): string[] {
  const name = storePath.slice(storePath.lastIndexOf('/') + 1).slice(33);
  const output = outputPattern.exec(name)?.[1];
  const suffix = output === undefined ? '' : `:${output}`;
  const splits = [...name.matchAll(/[-_](?=[0-9])/g)].map((match) => name.slice(0, match.index)).filter(Boolean);
  if (splits.length === 0) return [output === undefined ? name : `${name.slice(0, -output.length - 1)}${suffix}`];
  return splits.reverse().map((split) => `${split}${suffix}`);
}

/** @returns the place of the group that the path is in, or undefined for a package that the order does not know */
export function placeOf(index: OrderIndex, storePath: string): number | undefined {
  for (const name of packageNames(storePath)) {
    const place = index.groupOf.get(name);
    if (place !== undefined) return place;
  }
  return undefined;
}
