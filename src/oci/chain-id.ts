/** ChainIDs: the identity of a layer on top of what is below it, by which engines share unpacked layers. */
import { type Digest, digestOf } from '../core/digest.ts';

/**
 * The image specification's "Layer ChainID": the first is the layer's own diff id; each other is the digest of the
 * ChainID below it, a space, and its diff id.
 * @param diffIds from the bottom of the stack up
 * @returns one ChainID a layer
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}
