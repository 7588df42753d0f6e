import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { Environment } from './environment.ts';
import { createEnvironmentRecords, environmentKey, openStateDatabase } from './records.ts';
import type { Subject } from './subject.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'berth-records-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const subject: Subject = {
  file: '/p/config.nix',
  sources: {},
  withNix: false,
  evaluator: { code: 'sha256:aa', system: 'x86_64-linux', allowUnfree: false, allowImportFromDerivation: false },
};

function evaluated(drvPath: string): EvaluatedConfig {
  return { drvPath, packages: [], shellHook: '', command: null, ports: [], libraries: {} };
}

const key = environmentKey(evaluated('/d'));

const environment: Environment = {
  digest: 'sha256:1',
  storePath: '/nix/store/x',
  fhs: null,
  variables: { A: '1' },
  shellHook: '',
  functions: '',
  command: null,
  ports: [],
  closure: { paths: [], bytes: 0 },
};

function open() {
  let time = 0;
  const database = openStateDatabase(join(folder, 'state.sqlite'));
  return { database, records: createEnvironmentRecords(database, () => (time += 1)) };
}

describe('traces', () => {
  test('of one subject come newest first, and only the last eight are kept', () => {
    const { records } = open();
    for (let n = 0; n < 12; n += 1) {
      records.saveTrace({ subject, trace: [{ kind: 'absent', path: `/p/${n}` }], evaluated: evaluated(`/d${n}`) });
    }
    expect(records.traces(subject).map((trace) => trace.evaluated.drvPath)).toEqual(
      [11, 10, 9, 8, 7, 6, 5, 4].map((n) => `/d${n}`),
    );
    expect(records.newestTraceOf('/p/config.nix')?.evaluated.drvPath).toBe('/d11');
    expect(records.traces({ ...subject, withNix: true })).toEqual([]);
  });

  test('that were made again count as new', () => {
    const { records } = open();
    const first = { subject, trace: [{ kind: 'absent', path: '/p/a' }] as const, evaluated: evaluated('/a') };
    records.saveTrace(first);
    records.saveTrace({ ...first, trace: [{ kind: 'absent', path: '/p/b' }], evaluated: evaluated('/b') });
    records.saveTrace(first);
    expect(records.traces(subject).map((trace) => trace.evaluated.drvPath)).toEqual(['/a', '/b']);
  });
});

describe('environments', () => {
  test('are there after the state is opened again', () => {
    const { database, records } = open();
    records.saveEnvironment(key, environment);
    database.close();
    expect(open().records.environment(key)).toEqual(environment);
  });

  test('are forgotten with the traces that lead to them', () => {
    const { records } = open();
    records.saveEnvironment(key, environment);
    records.saveTrace({ subject, trace: [], evaluated: evaluated('/d') });
    records.forgetEnvironment(key);
    expect(records.environment(key)).toBeUndefined();
    expect(records.traces(subject)).toEqual([]);
  });

  test('come in the order of their last use, which a hit only notes in memory', () => {
    const { records } = open();
    records.saveEnvironment('/old', environment);
    records.saveEnvironment('/new', environment);
    records.touchEnvironment('/old');
    expect(records.environments().map((entry) => entry.key)).toEqual(['/old', '/new']);
  });
});

test("a later version's state is refused and left as it is", () => {
  const file = join(folder, 'state.sqlite');
  openStateDatabase(file).close();
  const database = new Database(file);
  database.exec('PRAGMA user_version = 99');
  database.close();
  expect(() => openStateDatabase(file)).toThrow(/schema version 99/);
});
