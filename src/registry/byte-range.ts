/** The header Range of RFC 9110, section 14: one range of bytes. */
import type { BlobRange } from '../oci/blobs/blob-store.ts';

/**
 * @returns the range; undefined when the whole is to be sent, as for a header that is not understood or names several
 *   ranges, which the RFC allows to ignore
 */
export function byteRangeOf(header: string | null, size: number): BlobRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (!match || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, length };
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, length: end - start + 1 };
}
