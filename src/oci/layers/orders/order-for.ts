/** Which published order an image's layers are put in. */
import type { CanonicalOrder } from '../canonical-order.ts';
import { debianBookworm } from './debian-bookworm.ts';

/**
 * For package sets that no order was learned for: each store path by itself, the larger lower. It depends on no config
 * either, so that images still share what they share.
 */
export const bySize: CanonicalOrder = { name: 'by-size', version: 1, placed: 0, groups: [] };

/**
 * @param kind of the source that most of the closure comes from
 * @returns the order. All Debian suites have one: their packages have the same names, but for the versions in some
 *   libraries' names, and what the order does not know it puts by size.
 */
export function orderFor(kind: string): CanonicalOrder {
  return kind === 'debian' ? debianBookworm : bySize;
}
