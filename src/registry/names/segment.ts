/**
 * How the name of a package, with or without a version, is written as one part of a repository's name. The distribution
 * specification allows `[a-z0-9]+` with `.`, `_`, `__` or dashes between, so what else a name has is escaped after `__`:
 * `__p` is `+`, `__v` is `@`, `__uX` is the capital of X, `__HH` is the character of that code (two hexadecimal digits).
 * `g++` is `g__p__p`, `nodejs@18` is `nodejs__v18`. A part can't begin with `__`: then a `0` goes before it.
 */
import { BerthError } from '../../core/errors.ts';

/** @returns the one way in which Berth itself writes a name of printable ASCII */
export function encodeSegment(name: string): string {
  const encoded = Array.from(name, (character, at) => encodeCharacter(character, name[at - 1], name[at + 1])).join('');
  if (encoded.startsWith('__')) return `0${encoded}`;
  // Else it would read as the mark of an escaped beginning.
  return encoded.startsWith('0__') ? `0__30${encoded.slice(1)}` : encoded;
}

/**
 * @returns the name that a part means, however it is escaped
 * @throws BerthError IMAGE_NAME_INVALID
 */
export function decodeSegment(segment: string): string {
  const text = segment.startsWith('0__') ? segment.slice(1) : segment;
  return text.replace(/__(?:(p)|(v)|u([a-z])|([0-9a-f]{2})|)/g, (found, plus, at, letter?: string, code?: string) => {
    if (plus !== undefined) return '+';
    if (at !== undefined) return '@';
    if (letter !== undefined) return letter.toUpperCase();
    const value = Number.parseInt(code ?? '', 16);
    if (value > 0x20 && value < 0x7f && value !== 0x2f) return String.fromCharCode(value);
    throw new BerthError('IMAGE_NAME_INVALID', `\`${segment}\` has \`${found}\`, which stands for no character.`);
  });
}

/** @returns a part that means the name even where the plain text means something else */
export function escapeWhole(name: string): string {
  return `0${hex(name)}${name.slice(1)}`;
}

function encodeCharacter(character: string, before: string | undefined, after: string | undefined): string {
  if (isPlain(character)) return character;
  if (/[._-]/.test(character) && isPlain(before) && isPlain(after)) return character;
  if (character === '+') return '__p';
  if (character === '@') return '__v';
  return /[A-Z]/.test(character) ? `__u${character.toLowerCase()}` : hex(character);
}

function hex(character: string): string {
  return `__${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

function isPlain(character: string | undefined): boolean {
  return character !== undefined && /[a-z0-9]/.test(character);
}
