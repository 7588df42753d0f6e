import { expect, test } from 'vitest';
import { parseParagraphs } from './control.ts';

const text = `Package: one
Version: 1.0
Description: first line
 more
 .
 end

# a comment
Package:two
version:  2:3-1
Odd line without a colon


Package: three`;

test('reads paragraphs, folded fields and names in any case', () => {
  expect([...parseParagraphs(text)].map((paragraph) => Object.fromEntries(paragraph))).toEqual([
    { package: 'one', version: '1.0', description: 'first line\nmore\n.\nend' },
    { package: 'two', version: '2:3-1' },
    { package: 'three' },
  ]);
});

test('keeps only the wanted fields, without the lines that belong to others', () => {
  const kept = [...parseParagraphs(text, new Set(['version']))].map((paragraph) => Object.fromEntries(paragraph));
  expect(kept).toEqual([{ version: '1.0' }, { version: '2:3-1' }]);
});

test('an empty text has no paragraphs', () => {
  expect([...parseParagraphs('\n\n')]).toEqual([]);
});
