/** Hashes that locks name packages by, in one form: Subresource Integrity's `algorithm-base64` (W3C). */
import { createHash } from 'node:crypto';
import { BerthError } from '../core/errors.ts';

/** Go's `h1` is over a module's files, not over its archive: golang.org/x/mod/sumdb/dirhash. */
export type Algorithm = 'sha512' | 'sha384' | 'sha256' | 'sha1' | 'h1';

export interface Integrity {
  readonly algorithm: Algorithm;
  readonly digest: Uint8Array;
}

/** The strongest first. */
export const algorithms: readonly Algorithm[] = ['sha512', 'sha384', 'sha256', 'h1', 'sha1'];
const lengths: Readonly<Record<Algorithm, number>> = { sha512: 64, sha384: 48, sha256: 32, h1: 32, sha1: 20 };

/** @returns the strongest hash of a text such as `sha512-… sha1-…`, or undefined when it holds none that is known */
export function parseIntegrity(text: string): Integrity | undefined {
  const found = text.split(/\s+/).flatMap((one): Integrity[] => {
    const [, name = '', encoded = ''] = /^([a-z0-9]+)-([A-Za-z0-9+/]+=*)/.exec(one) ?? [];
    const algorithm = algorithms.find((known) => known === name);
    const digest = Buffer.from(encoded, 'base64');
    return algorithm && digest.length === lengths[algorithm] ? [{ algorithm, digest }] : [];
  });
  return found.sort((a, b) => algorithms.indexOf(a.algorithm) - algorithms.indexOf(b.algorithm))[0];
}

/** @returns the hash that a lock writes as hexadecimal digits, or undefined when they are none of that algorithm's */
export function hexIntegrity(algorithm: Algorithm, hex: string): Integrity | undefined {
  const digest = Buffer.from(hex, 'hex');
  return /^[0-9a-f]+$/i.test(hex) && digest.length === lengths[algorithm] ? { algorithm, digest } : undefined;
}

/** @returns `sha512-…` */
export function formatIntegrity({ algorithm, digest }: Integrity): string {
  return `${algorithm}-${Buffer.from(digest).toString('base64')}`;
}

/** A name for a file: `sha512/0a1b…`. */
export function integrityPath({ algorithm, digest }: Integrity): string {
  return `${algorithm}/${Buffer.from(digest).toString('hex')}`;
}

/** Checks a stream against a hash over its bytes. */
export function verifier(integrity: Integrity) {
  if (integrity.algorithm === 'h1') throw new BerthError('INTERNAL', 'An h1 hash is not over the bytes of a file.');
  const hash = createHash(integrity.algorithm);
  return {
    update: (piece: Uint8Array): void => void hash.update(piece),
    /** @throws BerthError HASH_MISMATCH */
    end(label: string, url: string): void {
      const digest = hash.digest();
      if (digest.equals(Buffer.from(integrity.digest))) return;
      const got = formatIntegrity({ algorithm: integrity.algorithm, digest });
      throw new BerthError('HASH_MISMATCH', `${label} is not what the lock file says.`, {
        hint: 'The registry serves other bytes than when the lock was made. Lock it anew if that is meant.',
        details: { url, wanted: formatIntegrity(integrity), got },
      });
    },
  };
}
