import { describe, expect, it } from 'vitest';
import { BerthError } from './errors.ts';
import { renderError } from './render-error.ts';
import { createStyle } from './style.ts';

const file = '/p/config.nix';
const source = '{ pkgs, ... }: {\n\tpackages = [ pkgs.ripgrp ];\n}';
const options = {
  style: createStyle(false),
  readFile: (path: string) => (path === file ? source : undefined),
  verbose: false,
};

function errorAt(location: { file: string; line: number; column?: number }) {
  return new BerthError('UNKNOWN_PACKAGE', 'There is no package `ripgrp`.', {
    hint: 'Did you mean ripgrep?',
    location,
  });
}

describe('renderError', () => {
  it('points at the place in the source', () => {
    expect(renderError(errorAt({ file, line: 2, column: 14 }), options)).toBe(
      [
        'error[UNKNOWN_PACKAGE]: There is no package `ripgrp`.',
        '  --> /p/config.nix:2:14',
        '  |',
        '2 |  packages = [ pkgs.ripgrp ];',
        '  |              ^',
        'hint: Did you mean ripgrep?',
        '',
      ].join('\n'),
    );
  });

  it('names the place where the file or its line is not there', () => {
    expect(renderError(errorAt({ file: '/gone.nix', line: 3 }), options)).toContain('  --> /gone.nix:3\nhint');
    expect(renderError(errorAt({ file, line: 99 }), options)).toContain('  --> /p/config.nix:99\nhint');
  });

  it('shows the end of a log', () => {
    const error = new BerthError('INTERNAL', 'It failed.', { details: { log: ['one', 'two'], logFile: '/l' } });
    expect(renderError(error, options)).toContain('  | one\n  | two\n  log: /l\nhint');
  });

  it('shows stacks and causes with --verbose only', () => {
    const error = new BerthError('INTERNAL', 'It failed.', { cause: new TypeError('deep') });
    expect(renderError(error, options)).not.toContain('deep');
    expect(renderError(error, { ...options, verbose: true })).toMatch(/TypeError: deep\n\s+at /);
  });

  it('uses colours only where it is told to', () => {
    const error = errorAt({ file, line: 2, column: 14 });
    expect(renderError(error, options)).not.toContain('\u001b');
    expect(renderError(error, { ...options, style: createStyle(true) })).toContain('\u001b[31m');
  });
});
