/** Digests in OCI's notation, and one canonical form of JSON to digest. */
import { createHash } from 'node:crypto';

/** `sha256:` and 64 hexadecimal digits, as in the OCI image specification. */
export type Digest = `sha256:${string}`;

/** @returns the digest of the bytes */
export function digestOf(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** @returns the digest of a JSON value, the same for every order of keys */
export function digestOfJson(value: unknown): Digest {
  return digestOf(canonicalJson(value));
}

/**
 * JSON with sorted keys and no white space (RFC 8785's order for the values that Berth uses: strings, integers,
 * booleans, arrays, objects). Undefined members are left out, as JSON.stringify does.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}
