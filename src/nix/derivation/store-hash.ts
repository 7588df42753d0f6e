/** How Nix names store paths: https://nix.dev/manual/nix/stable/protocols/store-path */
import { createHash } from 'node:crypto';
import { toNixBase32 } from '../base32.ts';
import { storeDirectory, type StorePath } from '../store.ts';

/** Bytes that are kept of a SHA-256, and so 32 digits of base 32. */
const hashBytes = 20;

/** @returns the SHA-256 of the text's UTF-8 bytes in base 16 */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

/**
 * @param type `text` or `output:out`, with references where the type has them
 * @param hash in base 16, of what the type says
 */
export function storePathOfHash(type: string, hash: string, name: string): StorePath {
  const full = createHash('sha256').update(`${type}:sha256:${hash}:${storeDirectory}:${name}`, 'utf8').digest();
  const folded = full.subarray(0, hashBytes);
  for (let index = hashBytes; index < full.length; index += 1) {
    folded[index - hashBytes] = (folded[index - hashBytes] ?? 0) ^ (full[index] ?? 0);
  }
  return `${storeDirectory}/${toNixBase32(folded)}-${name}`;
}

/** @returns the path of a text that is in the store by its content, as a derivation is */
export function textPath(name: string, text: string, references: readonly string[]): StorePath {
  return storePathOfHash(['text', ...[...references].sort()].join(':'), sha256Hex(text), name);
}
