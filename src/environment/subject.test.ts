import { expect, test } from 'vitest';
import { subjectDifference, subjectKey, type Subject } from './subject.ts';

const before: Subject = {
  file: '/p/config.nix',
  sources: { pkgs: { kind: 'debian', label: 'bookworm 2026-07-11', pin: { suite: 'bookworm' } } },
  withNix: false,
  evaluator: { code: 'sha256:aa', system: 'x86_64-linux', allowUnfree: false, allowImportFromDerivation: false },
};

test('a subject names what differs: the source by its labels, options and settings by their values', () => {
  const after: Subject = {
    ...before,
    sources: { pkgs: { kind: 'debian', label: 'trixie 2026-11-21', pin: { suite: 'trixie' } } },
    withNix: true,
    evaluator: { ...before.evaluator, allowUnfree: true },
  };
  expect(subjectDifference(before, before)).toEqual([]);
  expect(subjectDifference(before, after).map((difference) => difference.reason)).toEqual([
    'berth.lock: source pkgs was bookworm 2026-07-11, is trixie 2026-11-21',
    '--nix was off, is on',
    'setting allowUnfree was false, is true',
  ]);
  expect(subjectKey(before)).not.toBe(subjectKey(after));
});
