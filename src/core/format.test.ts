import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exportLines, formatAge, formatBytes, formatDuration, formatTable, shellQuote } from './format.ts';

describe('numbers', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1024 * 1024 - 1, '1.0 MiB'],
    [13.4 * 2 ** 20, '13.4 MiB'],
    [5 * 2 ** 40, '5.0 TiB'],
  ])('shows %d bytes as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0.04, '0 ms'],
    [3.14, '3.1 ms'],
    [999, '999 ms'],
    [999.7, '1.00 s'],
    [59_994, '59.99 s'],
    [245_000, '4 m 05 s'],
  ])('shows %d milliseconds as %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it.each([
    [900, '0 seconds'],
    [1000, '1 second'],
    [59_999, '59 seconds'],
    [3 * 3_600_000, '3 hours'],
    [86_400_000, '1 day'],
  ])('shows an age of %d milliseconds as %s', (ms, text) => expect(formatAge(ms)).toBe(text));
});

describe('formatTable', () => {
  it('lines columns up and leaves no blanks at the end', () => {
    expect(formatTable(['A', 'LONG'], [['wide cell', 'x']])).toBe('A          LONG\nwide cell  x');
  });
});

describe('a shell reads back', () => {
  const shell = (script: string) => execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' });

  it('what shellQuote writes, whatever it is', () => {
    // A shell's $(…) and printf have no NUL, and file system texts have none either.
    const text = fc
      .string({ unit: 'binary' })
      .filter((value) => !value.includes('\0') && Buffer.from(value).toString() === value);
    fc.assert(
      fc.property(text, (value) => {
        expect(shell(`printf %s ${shellQuote(value)}`)).toBe(value);
      }),
      { numRuns: 40 },
    );
  });

  it('what exportLines writes, and gets no name that a shell cannot have', () => {
    const lines = exportLines({ A: "it's $HOME `x` \\", B: 'two\nlines', 'BASH_FUNC_x%%': '() { x; }' });
    expect(shell(`${lines}\nprintf '%s|%s' "$A" "$B"`)).toBe("it's $HOME `x` \\|two\nlines");
    expect(lines).not.toContain('BASH_FUNC');
  });
});
