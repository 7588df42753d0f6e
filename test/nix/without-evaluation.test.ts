/** The evaluator that need not run: when it does not, when it must, and what is in the store after that. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BerthError } from '../../src/core/errors.ts';
import { createEvaluateNames } from '../../src/environment/evaluate-names.ts';
import { createWithoutEvaluation } from '../../src/environment/without-evaluation.ts';
import type { EvaluateRequest } from '../../src/nix/evaluate.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import { hostSystem } from '../../src/nix/host-system.ts';
import { createDebianPlain } from '../../src/sources/debian/plain/plain.ts';
import type { PreparedSource } from '../../src/sources/source.ts';
import { debianLock, debianPrepared, debianSource, debianStore } from '../support/debian-root.ts';
import { createFlow, type Flow } from '../support/flow.ts';
import { makeNixFixture, repository, writeFiles, type NixFixture } from '../support/nixpkgs-fixture.ts';
import { testHome } from '../support/test-home.ts';

let home: string;
let projects = 0;

beforeAll(() => {
  home = mkdtempSync('/tmp/berth-plain-');
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The wrapped evaluator, which counts how often the real one ran. */
function wrapped(nix: Nix, overrides: Partial<Pick<Nix, 'addDerivations'>> = {}, folder = join(home, 'plain')) {
  const counter = { evaluations: 0 };
  const evaluator = createWithoutEvaluation({
    nix: {
      validPaths: (paths) => nix.validPaths(paths),
      codeDigest: () => nix.codeDigest(),
      addDerivations: (derivations, signal) => nix.addDerivations(derivations, signal),
      evaluate: (request, signal) => {
        counter.evaluations += 1;
        return nix.evaluate(request, signal);
      },
      ...overrides,
    },
    debian: createDebianPlain({ nix, folder }),
    folder,
    reachable: () => undefined,
  });
  return { evaluator, counter };
}

function requestOf(text: string, source: PreparedSource, more: Partial<EvaluateRequest> = {}): EvaluateRequest {
  projects += 1;
  const directory = join(home, `project-${projects}`);
  writeFiles(directory, { 'config.nix': text });
  const config = { file: join(directory, 'config.nix'), directory, shape: 'nix' } as const;
  return { config, sources: { pkgs: source }, defaultSource: 'pkgs', ...more };
}

describe('of the source debian', () => {
  let nix: Nix;
  let source: PreparedSource;
  const nixOver = (nixFolder: string) =>
    createNix({
      store: debianStore,
      nixFolder,
      home: join(testHome, 'nix'),
      settings: { substituters: [], trustedPublicKeys: [] },
      environment: { PATH: process.env['PATH'] ?? '' },
    });
  beforeAll(async () => {
    source = await debianPrepared('bookworm');
    nix = nixOver(join(repository, 'nix'));
  });
  afterAll(() => nix.close());
  const once = () => randomBytes(8).toString('hex');

  test('a list of packages is not evaluated; its derivations are in the store, and build', async () => {
    const { evaluator, counter } = wrapped(nix);
    const request = requestOf(`{ pkgs, ... }: { packages = [ pkgs.jq ]; env.ONCE = "${once()}"; }`, source);
    const found = await evaluator.evaluate(request);
    expect(counter.evaluations).toBe(0);
    expect(found).toMatchObject({ ok: true, how: 'parsed', trace: [{ kind: 'file', path: request.config.file }] });
    if (!found.ok) throw found.error;
    expect(await nix.validPaths([found.result.drvPath])).toEqual([found.result.drvPath]);
    const { paths } = await nix.realise([found.result.drvPath]);
    expect(await nix.validPaths(paths)).toEqual(paths);
    // The evaluator's own word for the same text.
    expect(await nix.evaluate(request)).toMatchObject({ ok: true, result: found.result });
  });

  test('what was never in the store is written whole: packages, view and environment', async () => {
    const fixture = await makeNixFixture();
    try {
      // The index in a store that has nothing else of Debian.
      const paths = source.storePaths;
      await fixture.nix.process.require('nix', [
        ...['copy', '--extra-experimental-features', 'nix-command', '--no-check-sigs'],
        ...['--from', debianStore.root, ...paths],
      ]);
      const { evaluator, counter } = wrapped(fixture.nix, {}, join(fixture.root, 'plain'));
      const request = requestOf('{ pkgs, ... }: { packages = [ pkgs.tree pkgs.tmux ]; }', source);
      const found = await evaluator.evaluate(request);
      if (!found.ok) throw found.error;
      expect(counter.evaluations).toBe(0);
      const { paths: closure } = await fixture.nix.closureOf([found.result.drvPath]);
      expect(closure.some((path) => /-tmux-.*\.deb\.drv$/.test(path))).toBe(true);
      // Nix finds them whole, with all references known.
      await fixture.nix.process.require('nix-store', ['--verify', '--check-contents']);
      expect(await fixture.nix.evaluate(request)).toMatchObject({ ok: true, result: found.result });
    } finally {
      await fixture.close();
    }
  });

  test.each([
    ['an unknown package', '{ pkgs, ... }:\n{ packages = [ pkgs.no-such-thing ]; }\n', 'UNKNOWN_PACKAGE'],
    ['a package that is not free', '{ pkgs, ... }:\n{ packages = [ pkgs.unrar ]; }\n', 'UNFREE_PACKAGE'],
    [
      'packages that conflict',
      '{ pkgs, ... }:\n{ packages = [ pkgs.libcurl4-gnutls-dev pkgs.libcurl4-openssl-dev ]; }\n',
      'BROKEN_PACKAGE',
    ],
    ['a fault of syntax', '{ pkgs, ... }:\n{ packages = [ pkgs.jq ] }\n', 'CONFIG_SYNTAX'],
  ])('%s is told by the evaluator', async (_, text, code) => {
    const { evaluator, counter } = wrapped(nix);
    const request = requestOf(text, source);
    const found = await evaluator.evaluate(request);
    expect(counter.evaluations).toBe(1);
    const own = await nix.evaluate(request);
    if (found.ok || own.ok) throw new Error('It should fail.');
    expect(found.error.code).toBe(code);
    const { code: ownCode, message, hint, location } = own.error;
    expect(found.error).toMatchObject({ code: ownCode, message, hint, location });
  });

  test.each([
    ['with Nix', { withNix: true, extraPackages: ['nix-bin'] }],
    ['with another source for the shell', { sources: {} }],
  ])('%s, it is evaluated', async (name, more) => {
    const { evaluator, counter } = wrapped(nix);
    const other = { ...source, nix: { ...source.nix, suite: 'other' } };
    const sources = name === 'with Nix' ? { pkgs: source } : { pkgs: source, debian: other };
    await evaluator.evaluate(requestOf('{ pkgs, ... }: { packages = [ pkgs.jq ]; }', source, { ...more, sources }));
    expect(counter.evaluations).toBe(1);
  });

  test('names without a config are not evaluated, mean what a config of them means, and are never code', async () => {
    const { evaluator, counter } = wrapped(nix);
    const debian = debianSource();
    const names = createEvaluateNames({
      nix: evaluator,
      sources: { debian, nixpkgs: debian, path: debian },
      evaluator: { system: hostSystem(), allowUnfree: false },
      folder: join(home, 'names'),
    });
    const locked = await debianLock('bookworm');
    const context = { emit: () => undefined };
    const { config } = await names(['jq', 'g++', 'python3.11', 'jq'], locked, context);
    expect(counter.evaluations).toBe(0);
    const text = '{ pkgs, ... }: { packages = with pkgs; [ pkgs."python3.11" jq ] ++ [ pkgs."g++" ]; }';
    expect(await nix.evaluate(requestOf(text, source))).toMatchObject({ ok: true, result: config });
    for (const name of ['a" b', 'a${b}', '', 'x;y', '-a', '../a']) {
      await expect(names([name], locked, context)).rejects.toMatchObject({ code: 'UNKNOWN_PACKAGE' });
    }
    expect(counter.evaluations).toBe(0);
    await expect(names(['no-such-thing'], locked, context)).rejects.toMatchObject({ code: 'UNKNOWN_PACKAGE' });
    expect(readdirSync(join(home, 'names'))).toEqual([]);
  });

  test('a config that is a link is evaluated', async () => {
    const { evaluator, counter } = wrapped(nix);
    const request = requestOf('{ pkgs, ... }: { packages = [ pkgs.jq ]; }', source);
    const real = `${request.config.file}.real`;
    cpSync(request.config.file, real);
    rmSync(request.config.file);
    symlinkSync(real, request.config.file);
    await evaluator.evaluate(request);
    expect(counter.evaluations).toBe(1);
  });

  test('when the store does not take the derivations, it is evaluated', async () => {
    const refuse = () => Promise.reject(new BerthError('INTERNAL', 'no'));
    const { evaluator, counter } = wrapped(nix, { addDerivations: refuse });
    const text = `{ pkgs, ... }: { packages = [ pkgs.jq ]; env.ONCE = "${once()}"; }`;
    expect(await evaluator.evaluate(requestOf(text, source))).toMatchObject({ ok: true });
    expect(counter.evaluations).toBe(1);
  });

  test.each([
    ['environment.nix', 'berthName = inputs.name;', 'berthName = inputs.name + "x";', 0],
    [
      'environment.nix',
      'berthDumpBash = ./dump-exports.bash;',
      'berthDumpBash = ./dump-exports.bash; more = builtins.derivation { name = "more"; system = "x"; builder = "x"; };',
      1,
    ],
    [
      'environment.nix',
      '// optional (command != null)',
      '// optional (variables != { }) { berthMore = "1"; } // optional (command != null)',
      1,
    ],
    [
      'debian/view.nix',
      'explicit = lib.concatMap namesOf packages;',
      'explicit = lib.concatMap namesOf packages ++ [ "tree" ];',
      1,
    ],
  ])('Nix code that is changed (%s: %s) is followed or refused, never guessed', async (file, was, is, evaluations) => {
    const folder = join(home, `nix-${once()}`);
    cpSync(join(repository, 'nix'), folder, { recursive: true });
    const text = readFileSync(join(folder, file), 'utf8');
    expect(text).toContain(was);
    writeFileSync(join(folder, file), text.replace(was, is));
    const changed = nixOver(folder);
    try {
      const { evaluator, counter } = wrapped(changed);
      const request = requestOf('{ pkgs, ... }: { packages = [ pkgs.jq ]; env.A = "1"; }', source);
      const found = await evaluator.evaluate(request);
      expect(counter.evaluations).toBe(evaluations);
      const own = await changed.evaluate(request);
      if (!found.ok || !own.ok) throw new Error('It should succeed.');
      expect(found.result).toEqual(own.result);
    } finally {
      await changed.close();
    }
  });
});

describe('of a source that is a tree of Nix files', () => {
  let fixture: NixFixture;
  beforeAll(async () => {
    fixture = await makeNixFixture();
  });
  afterAll(() => fixture.close());

  test('a list that was evaluated before means the same in another project, in another order', async () => {
    const { evaluator, counter } = wrapped(fixture.nix, {}, join(fixture.root, 'plain'));
    const reachable = createWithoutEvaluation({
      nix: { ...fixture.nix, evaluate: (request, signal) => evaluator.evaluate(request, signal) },
      debian: createDebianPlain({ nix: fixture.nix, folder: join(fixture.root, 'plain') }),
      folder: join(fixture.root, 'plain'),
      reachable: () => 'derivation',
    });
    const first = await reachable.evaluate(
      requestOf('{ pkgs, ... }: { packages = [ pkgs.hello pkgs.cowsay ]; env.A = "1"; }', fixture.source),
    );
    expect(counter.evaluations).toBe(1);
    expect(first).not.toHaveProperty('how');
    const again = requestOf(
      '{ pkgs }: {\n  env = { A = "1"; };\n  packages = with pkgs; [ cowsay hello ]; }',
      fixture.source,
    );
    const second = await reachable.evaluate(again);
    expect(counter.evaluations).toBe(1);
    expect(second).toMatchObject({ ok: true, how: 'parsed' });
    const own = await fixture.nix.evaluate(again);
    if (!first.ok || !second.ok || !own.ok) throw new Error('It should succeed.');
    expect(second.result).toEqual(own.result);
    // Another meaning, and another revision, are evaluated.
    await reachable.evaluate(requestOf('{ pkgs }: { packages = [ pkgs.cowsay ]; env.A = "1"; }', fixture.source));
    const other = { ...fixture.source, nix: { ...fixture.source.nix, config: { allowUnfree: true } } };
    await reachable.evaluate(requestOf('{ pkgs }: { packages = [ pkgs.cowsay ]; env.A = "1"; }', other));
    expect(counter.evaluations).toBe(3);
  });
});

describe('in the flow', () => {
  let flow: Flow;
  beforeAll(async () => {
    flow = await createFlow();
  });
  afterAll(() => flow.close());

  test('an edit is parsed, the next time is a hit, and explain says so', async () => {
    const path = await flow.project({ 'config.nix': '{ pkgs, ... }: { packages = [ pkgs.jq ]; }' });
    const first = await flow.service.environment({ path }, flow.context('first'));
    expect(first.cache.environment).toBe('miss');
    const second = await flow.service.environment({ path }, flow.context('second'));
    expect(second.cache.environment).toBe('hit');
    expect(second.environment).toEqual(first.environment);
    const { stages } = await flow.service.explain({ path }, flow.context('explain'));
    expect(stages[0]).toMatchObject({ stage: 'trace', verdict: 'hit' });
    expect(stages[0]?.reason).toContain('parsed, not evaluated');
    writeFileSync(join(path, 'config.nix'), '{ pkgs, ... }: { packages = [ pkgs.jq ] ++ [ ]; }');
    const third = await flow.service.environment({ path }, flow.context('third'));
    expect(third.cache).toMatchObject({ environment: 'miss', build: 'hit' });
    expect(third.environment).toEqual(first.environment);
    expect((await flow.service.explain({ path }, flow.context('explain'))).stages[0]?.reason).toContain(
      'that the last evaluation read',
    );
  });
});
