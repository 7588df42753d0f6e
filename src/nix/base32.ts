/** Nix's base 32: 32 digits without e, o, t and u, least significant digit last (nix/src/libutil/hash.cc). */
const digits = '0123456789abcdfghijklmnpqrsvwxyz';

/** @returns the bytes as Nix writes them in hashes and store paths */
export function toNixBase32(bytes: Uint8Array): string {
  const length = Math.ceil((bytes.length * 8) / 5);
  let text = '';
  for (let position = length - 1; position >= 0; position -= 1) {
    const bit = position * 5;
    const index = bit >> 3;
    const shift = bit & 7;
    const digit = ((bytes[index] ?? 0) >> shift) | ((bytes[index + 1] ?? 0) << (8 - shift));
    text += digits[digit & 31] ?? '';
  }
  return text;
}

/** @returns the bytes that a text in Nix's base 32 stands for */
export function fromNixBase32(text: string): Buffer {
  const bytes = Buffer.alloc(Math.floor((text.length * 5) / 8));
  for (let position = 0; position < text.length; position += 1) {
    const digit = digits.indexOf(text[text.length - 1 - position] ?? '');
    const bit = position * 5;
    const index = bit >> 3;
    const shift = bit & 7;
    bytes[index] = (bytes[index] ?? 0) | ((digit << shift) & 0xff);
    if (index + 1 < bytes.length) bytes[index + 1] = (bytes[index + 1] ?? 0) | (digit >> (8 - shift));
  }
  return bytes;
}
