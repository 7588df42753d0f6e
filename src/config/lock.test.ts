import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatLock, readLock, writeLock, type Lock } from './lock.ts';

let file: string;
beforeEach(() => {
  file = join(mkdtempSync(join(tmpdir(), 'berth-lock-')), 'berth.lock');
});
afterEach(() => rmSync(join(file, '..'), { recursive: true }));

const lock: Lock = {
  sources: {
    pkgs: { kind: 'debian', label: 'debian bookworm', pin: { suite: 'bookworm', pockets: [{ name: 'a', n: 1 }] } },
    nixpkgs: { kind: 'nixpkgs', label: 'nixpkgs', pin: { url: 'u', rev: null } },
  },
};

describe('a lock', () => {
  it('is read as it was written, and has no sources where there is no file', async () => {
    expect(readLock(file)).toEqual({ sources: {} });
    await writeLock(file, lock);
    expect(readLock(file)).toEqual(lock);
  });

  it('is the same text for the same lock, and is not written when it would be', async () => {
    const { pkgs, nixpkgs } = lock.sources;
    expect(formatLock({ sources: { nixpkgs: nixpkgs!, pkgs: pkgs! } })).toBe(formatLock(lock));
    expect(formatLock(lock)).toMatch(/^\{\n {2}"sources": \{\n {4}"nixpkgs"/);
    await writeLock(file, lock);
    const { ino } = statSync(file);
    await writeLock(file, lock);
    expect(statSync(file).ino).toBe(ino);
  });

  it.each([
    ['no JSON', 'x', /is not JSON/],
    ['of a later version', '{"version":2,"sources":{}}', /has version 2; this Berth knows version 1/],
    ['without a version', '{"sources":{}}', /is damaged at version/],
    [
      'with an unknown kind',
      '{"version":1,"sources":{"pkgs":{"kind":"x","label":"","pin":{}}}}',
      /damaged at sources\.pkgs\.kind/,
    ],
    ['with an unknown field', '{"version":1,"sources":{},"more":1}', /is damaged/],
  ])('that is %s is refused and left as it is', (_what, text, message) => {
    writeFileSync(file, text);
    expect(() => readLock(file)).toThrow(expect.objectContaining({ code: 'LOCK_INVALID' }) as Error);
    expect(() => readLock(file)).toThrow(message);
    expect(readFileSync(file, 'utf8')).toBe(text);
  });
});
