import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromNixBase32, toNixBase32 } from './base32.ts';

test('writes the SHA-256 of nothing as Nix does', () => {
  const empty = Buffer.from('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'hex');
  expect(toNixBase32(empty)).toBe('0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73');
});

test('reads what it writes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 32 }), (bytes) => {
      expect(fromNixBase32(toNixBase32(bytes)).equals(bytes)).toBe(true);
    }),
  );
});
