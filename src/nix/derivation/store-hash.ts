/** How Nix names store paths: https://nix.dev/manual/nix/stable/protocols/store-path */
import { createHash } from 'node:crypto';
import { storeDirectory, type StorePath } from '../store.ts';

const digits = '0123456789abcdfghijklmnpqrsvwxyz';
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
  return `${storeDirectory}/${base32(folded)}-${name}`;
}

/** @returns the path of a text that is in the store by its content, as a derivation is */
export function textPath(name: string, text: string, references: readonly string[]): StorePath {
  return storePathOfHash(['text', ...[...references].sort()].join(':'), sha256Hex(text), name);
}

/** Nix's own base 32: five bits a digit, the last bits first. */
function base32(bytes: Uint8Array): string {
  let text = '';
  for (let digit = Math.ceil((bytes.length * 8) / 5) - 1; digit >= 0; digit -= 1) {
    const bit = digit * 5;
    const byte = bit >> 3;
    const value = ((bytes[byte] ?? 0) | ((bytes[byte + 1] ?? 0) << 8)) >> (bit & 7);
    text += digits.charAt(value & 31);
  }
  return text;
}
