import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRepositoryName } from '../reference.ts';
import { parseImageName, storedRepository } from './image-name.ts';
import { decodeSegment, encodeSegment } from './segment.ts';

const name = fc.string({
  unit: fc.constantFrom(...'abz019ABZ+.-_@~:^<=*'.split('')),
  minLength: 1,
  maxLength: 12,
});

test('any name is a part of a repository name, and comes back', () => {
  fc.assert(
    fc.property(name, (text) => {
      const part = encodeSegment(text);
      expect(isRepositoryName(part)).toBe(true);
      expect(decodeSegment(part)).toBe(text);
    }),
  );
});

test('order and repetition do not count, and the stored name means the same set', () => {
  const set = fc.array(fc.oneof(name, fc.constantFrom('shell', 'slim', 'arm64')), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(set, (names) => {
      const parts = names.map((text) => (['shell', 'slim', 'arm64'].includes(text) ? text : encodeSegment(text)));
      const stored = storedRepository(parseImageName(parts.join('/')));
      expect(storedRepository(parseImageName([...parts.reverse(), parts[0]].join('/')))).toBe(stored);
      expect(storedRepository(parseImageName(stored))).toBe(stored);
    }),
  );
});

test('names are written as the documentation says', () => {
  expect(['g++', 'nodejs@18', 'R', 'python3.11', 'libstdc++6'].map(encodeSegment)).toEqual([
    'g__p__p',
    'nodejs__v18',
    '0__ur',
    'python3.11',
    'libstdc__p__p6',
  ]);
  expect(parseImageName('git/arm64/0__73lim/shell')).toEqual({
    packages: ['bash', 'coreutils', 'findutils', 'git', 'less', 'slim'],
    system: 'aarch64-linux',
  });
  expect(() => decodeSegment('a__zz')).toThrow('stands for no character');
  expect(() => decodeSegment('a__2f')).toThrow('stands for no character');
});
