import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findConfig } from '../config/find-config.ts';
import { sleep } from '../core/clock.ts';
import { BerthError } from '../core/errors.ts';
import { silent } from '../core/events.ts';
import type { EvaluateRequest, Evaluation } from '../nix/evaluate.ts';
import type { Nix } from '../nix/nix.ts';
import { fileDigest } from '../nix/observe.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import { createEvaluateStep } from './evaluate-step.ts';
import { createEnvironmentRecords, openStateDatabase } from './records.ts';
import { createSourceLocks } from './source-locks.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-evaluate-step-'));
  write('one');
});
afterEach(() => rmSync(folder, { recursive: true }));

const configPath = () => join(folder, 'config.nix');
const write = (text: string) => writeFileSync(configPath(), text);

const fakeSource: Source = {
  kind: 'debian',
  lock: () => Promise.resolve({ kind: 'debian', label: 'fake 1', pin: { suite: 'fake' } } satisfies LockedSource),
  prepare: () => Promise.resolve({ kind: 'debian', nix: {}, storePaths: [] }),
  search: () => Promise.resolve([]),
  has: () => Promise.resolve(true),
  versions: () => Promise.resolve([]),
  elsewhere: () => Promise.resolve([]),
  nearest: () => Promise.resolve(['ripgrep']),
};

/** A step over a real database, real files and real locks; only Nix itself is played. */
function stepWith(evaluate: (request: EvaluateRequest, count: number) => Promise<Evaluation>) {
  let count = 0;
  const nix = { evaluate: (request: EvaluateRequest) => evaluate(request, (count += 1)) } as unknown as Nix;
  const records = createEnvironmentRecords(openStateDatabase(join(folder, 'state/state.db')));
  const step = createEvaluateStep({
    nix,
    records,
    locks: createSourceLocks({
      sources: { debian: fakeSource, nixpkgs: fakeSource, path: fakeSource },
      defaultKind: 'debian',
      keep: () => Promise.resolve(),
      fallback: () => undefined,
    }),
    packages: { lock: () => Promise.resolve(), ensure: () => Promise.resolve() },
    evaluator: { code: 'sha256:aa', system: 'x86_64-linux', allowUnfree: false, allowImportFromDerivation: false },
    reachable: () => 'built',
    inTurn: (_, context, work) => work(context.signal ?? new AbortController().signal),
    nixPackages: () => ['nix-bin'],
  });
  const run = (request = {}, signal?: AbortSignal) =>
    step.run(findConfig(folder), { path: folder, ...request }, { emit: silent, ...(signal ? { signal } : {}) });
  return { run, step, count: () => count };
}

/** What an evaluation of the config as it is now comes to: its derivation is named after its text. */
function evaluationNow(unstable = false): Evaluation {
  const digest = fileDigest(configPath()) ?? '';
  return {
    ok: true,
    unstable,
    log: '',
    trace: [{ kind: 'file', path: configPath(), digest }],
    result: { drvPath: `/nix/store/${digest}`, packages: [], shellHook: '', command: null, ports: [], libraries: {} },
  };
}

describe('a config', () => {
  test('is evaluated once, then hit until what it read changes; an edit taken back hits again', async () => {
    const { run, count } = stepWith(() => Promise.resolve(evaluationNow()));
    const first = await run();
    expect(first.cache).toBe('miss');
    expect(await run()).toEqual({ ...first, cache: 'hit' });
    write('two');
    expect((await run()).cache).toBe('miss');
    write('one');
    expect(await run()).toEqual({ ...first, cache: 'hit' });
    expect(count()).toBe(2);
  });

  test('that many ask for at the same time is evaluated once', async () => {
    const { run, count } = stepWith(async () => {
      await sleep(10);
      return evaluationNow();
    });
    const results = await Promise.all([run(), run(), run()]);
    expect(count()).toBe(1);
    expect(new Set(results.map((result) => result.config.drvPath)).size).toBe(1);
  });

  test('with --nix is another subject, with the packages that --nix adds', async () => {
    const asked: (readonly string[] | undefined)[] = [];
    const { run } = stepWith((request) => {
      asked.push(request.extraPackages);
      return Promise.resolve(evaluationNow());
    });
    await run();
    expect((await run({ withNix: true })).cache).toBe('miss');
    expect(asked).toEqual([[], ['nix-bin']]);
  });
});

describe('a config that is edited while it is evaluated', () => {
  test('is evaluated anew, and the old result is not kept under the new text', async () => {
    const { run, count } = stepWith(async (_request, nth) => {
      const old = evaluationNow();
      if (nth === 1) write('two');
      await sleep(1);
      return nth === 1 ? old : evaluationNow();
    });
    const result = await run();
    expect(count()).toBe(2);
    expect(result.config.drvPath).toContain(fileDigest(configPath()));
    expect((await run()).cache).toBe('hit');
    // The first text's result was right for that text, but nobody could tell what it had read: it is not kept either.
    write('one');
    expect((await run()).cache).toBe('miss');
  });

  test('does not hand a caller that came after the edit what came before it', async () => {
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { run } = stepWith(async (_request, nth) => {
      const seen = evaluationNow();
      if (nth === 1) await gate;
      return seen;
    });
    const before = run();
    await sleep(5);
    write('two');
    const after = run();
    open();
    expect((await after).config.drvPath).toContain(fileDigest(configPath()));
    expect((await before).config.drvPath).toContain(fileDigest(configPath()));
  });

  test('again and again is an error, after some tries', async () => {
    const { run, count } = stepWith(() => Promise.resolve(evaluationNow(true)));
    await expect(run()).rejects.toMatchObject({ code: 'CONFIG_CHANGING', fault: 'user' });
    expect(count()).toBe(5);
  });
});

describe('sources', () => {
  const needs = (source: string): Evaluation => ({
    ok: false,
    unstable: false,
    log: '',
    trace: [],
    error: new BerthError('SOURCE_NEEDED', `needs ${source}`, { details: { source } }),
  });

  test('are locked when the config first asks for them, each once', async () => {
    const { run, step } = stepWith((request) =>
      Promise.resolve(
        'debian' in request.sources
          ? 'nixpkgs' in request.sources
            ? evaluationNow()
            : needs('nixpkgs')
          : needs('debian'),
      ),
    );
    await run();
    expect(Object.keys(step.subject(findConfig(folder), { path: folder }).sources)).toEqual(['debian', 'nixpkgs']);
  });

  test('that there are none of are an error, not a loop', async () => {
    const { run } = stepWith(() => Promise.resolve(needs('gentoo')));
    await expect(run()).rejects.toMatchObject({ code: 'SOURCE_UNKNOWN' });
  });
});

test('a failed evaluation is not remembered, and an unknown package comes with the nearest names', async () => {
  write('pkgs');
  const { run, count } = stepWith(() =>
    Promise.resolve({
      ok: false,
      unstable: false,
      log: '',
      trace: [],
      error: new BerthError('UNKNOWN_PACKAGE', 'There is no ripgreb.', { details: { name: 'ripgreb' } }),
    }),
  );
  await expect(run()).rejects.toMatchObject({ code: 'UNKNOWN_PACKAGE', details: { nearest: ['ripgrep'] } });
  await expect(run()).rejects.toThrow();
  expect(count()).toBe(2);
});

test("a caller that gives up leaves the others' evaluation alone", async () => {
  const { run, count } = stepWith(async () => {
    await sleep(20);
    return evaluationNow();
  });
  const controller = new AbortController();
  const gone = run({}, controller.signal);
  const stays = run();
  await sleep(5);
  controller.abort();
  await expect(gone).rejects.toThrow();
  expect((await stays).cache).toBe('miss');
  expect(count()).toBe(1);
});
