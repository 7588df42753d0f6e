import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findConfig } from './find-config.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-find-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('takes the first of the usual names', () => {
  for (const [name, shape] of [
    ['flake.nix', 'flake'],
    ['replit.nix', 'nix'],
    ['shell.nix', 'nix'],
    ['config.nix', 'nix'],
  ] as const) {
    writeFileSync(join(folder, name), '');
    expect(findConfig(folder)).toEqual({
      file: join(folder, name),
      directory: folder,
      lockFile: join(folder, 'berth.lock'),
      shape,
    });
  }
});

it('takes a file of any name', () => {
  writeFileSync(join(folder, 'dev.nix'), '');
  expect(findConfig(join(folder, 'dev.nix'))).toMatchObject({ file: join(folder, 'dev.nix'), shape: 'nix' });
});

it('passes over a folder of a usual name, and says what it looked for', () => {
  mkdirSync(join(folder, 'config.nix'));
  expect(() => findConfig(folder)).toThrow(/has no config\.nix, shell\.nix, replit\.nix or flake\.nix/);
  expect(() => findConfig(join(folder, 'absent'))).toThrow(/There is no .*absent/);
});
