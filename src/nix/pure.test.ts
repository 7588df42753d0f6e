/** Small pure parts of src/nix. */
import { describe, expect, it } from 'vitest';
import { buildError } from './build-errors.ts';
import { freedBytes } from './collect-garbage.ts';
import { nixString } from './declared-fetches.ts';
import { nixConfig } from './nix-settings.ts';
import { isAtLeast, parseVersion } from './version.ts';

it('reads versions of Nix', () => {
  expect(parseVersion('nix-store (Nix) 2.8.0\n')).toEqual({ major: 2, minor: 8, text: '2.8.0' });
  expect(parseVersion('nix (Nix) 2.34pre20260101_abc')).toMatchObject({ major: 2, minor: 34 });
  expect(parseVersion('nix-store')).toBeUndefined();
  expect(isAtLeast({ major: 2, minor: 34, text: '' }, 2, 8)).toBe(true);
  expect(isAtLeast({ major: 2, minor: 8, text: '' }, 2, 26)).toBe(false);
  expect(isAtLeast({ major: 3, minor: 0, text: '' }, 2, 26)).toBe(true);
});

it('writes text as Nix has it', () => {
  expect(nixString('a "b" ${c} \\ \n$$')).toBe('"a \\"b\\" \\${c} \\\\ \\n$$"');
});

it('reads what was freed', () => {
  expect(freedBytes('12 store paths deleted, 3.50 MiB freed')).toBe(3_670_016);
  expect(freedBytes('0 store paths deleted, 0.00 MiB freed')).toBe(0);
  expect(freedBytes('')).toBe(0);
});

describe('the settings of Nix', () => {
  const settings = { substituters: ['https://one', 'file:///two'], trustedPublicKeys: ['k:1'] };

  it('trust nobody, and name only the caches that were chosen', () => {
    const lines = nixConfig(settings, 'daemon', '/hook', 'managed').split('\n');
    expect(lines).toContain('trusted-users =');
    expect(lines).toContain('substituters = https://one file:///two');
    expect(lines).toContain('require-sigs = true');
    expect(nixConfig({ substituters: [], trustedPublicKeys: [] }, 'client', '/hook', 'managed').split('\n')).toContain(
      'substituters =',
    );
  });

  it("leave the host's store as its nix.conf says", () => {
    const text = nixConfig(settings, 'client', '/hook', 'system');
    expect(text).toContain('extra-substituters = https://one file:///two');
    expect(text).not.toMatch(/build-users-group|sandbox|trusted-users|build-hook/);
    expect(nixConfig(settings, 'daemon', '/hook', 'system').split('\n')).toContain('trusted-users =');
  });

  it('restrict only the evaluator', () => {
    expect(nixConfig(settings, 'evaluator', '/hook', 'managed')).toContain('restrict-eval = true');
    expect(nixConfig(settings, 'evaluator', '/hook', 'managed')).toContain('allow-import-from-derivation = false');
    expect(nixConfig(settings, 'client', '/hook', 'managed')).not.toContain('restrict-eval');
  });
});

describe('a failed build', () => {
  const failure = (errors: string[], logs: [string, string[]][] = []) =>
    buildError({ log: { errors, buildLogs: new Map(logs) }, exitCode: 1 });

  it('is told in the words of every version', () => {
    const path = '/nix/store/00000000000000000000000000000000-a-1.drv';
    const old = failure(
      [`error: builder for '${path}' failed with exit code 2;\n       last 1 log lines:\n       > x`],
      [[path, ['x']]],
    );
    const late = failure(
      [`error: Cannot build '${path}'.\n       Reason: builder failed with exit code 2.`],
      [[path, ['x']]],
    );
    for (const error of [old, late]) {
      expect(error).toMatchObject({
        code: 'BUILD_FAILED',
        message: 'The build of a-1 failed with exit code 2.',
        details: { log: ['x'] },
      });
    }
  });

  it('has no secret of an address in it', () => {
    const error = failure(["error: unable to download 'https://user:pass@host/a?token=1': HTTP error 404"]);
    expect(error).toMatchObject({ code: 'DOWNLOAD_GONE', details: { url: 'https://host/a' } });
    expect(JSON.stringify(error.report())).not.toMatch(/pass|token/);
  });

  it('that is none of these quotes Nix', () => {
    expect(failure(['error: something odd']).message).toBe('Nix failed: something odd');
    expect(failure([]).message).toBe('Nix failed: it printed nothing');
  });
});
