/** The store's database: read without a process, and Nix's own word where it can't be read. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createStoreDatabase, type StoreDatabase } from '../../src/nix/closure.ts';
import type { StorePath } from '../../src/nix/store.ts';
import { makeNixFixture, writeFiles, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let paths: StorePath[];
let folder: string;
const absent = '/nix/store/00000000000000000000000000000000-absent';

beforeAll(async () => {
  fixture = await makeNixFixture();
  folder = mkdtempSync('/tmp/berth-database-');
  const project = fixture.project({ 'config.nix': '{ pkgs }: { packages = [ pkgs.hello ]; }' });
  const evaluation = await fixture.nix.evaluate(fixture.request(project));
  if (!evaluation.ok) throw evaluation.error;
  paths = [evaluation.result.drvPath as StorePath, fixture.source.storePaths[0]!];
});
afterAll(async () => {
  await fixture.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A reader of the database in some folder, with how often it started a process of Nix's, which has the real store. */
function reader(root: string, kind: 'managed' | 'system' = 'managed') {
  const count = { processes: 0 };
  const { process } = fixture.nix;
  const counting = <T extends unknown[], R>(run: (...words: T) => R) => {
    return (...words: T) => {
      count.processes += 1;
      return run(...words);
    };
  };
  const database = createStoreDatabase({
    ...process,
    store: { kind, root },
    run: counting((...words: Parameters<typeof process.run>) => process.run(...words)),
    require: counting((...words: Parameters<typeof process.require>) => process.require(...words)),
  });
  return { database, count };
}

const fileIn = (root: string) => join(root, 'nix/var/nix/db/db.sqlite');

/** A copy of the store's database, in a form of the test's choosing. */
function copy(name: string, change: (database: Database.Database) => void = () => undefined): string {
  const root = join(folder, name);
  const real = new Database(fileIn(fixture.nix.store.root));
  real.pragma('wal_checkpoint(truncate)');
  real.close();
  writeFiles(root, { 'nix/var/nix/db/schema': '10' });
  symlinkSync(join(fixture.nix.store.root, 'nix/store'), join(root, 'nix/store'));
  cpSync(fileIn(fixture.nix.store.root), fileIn(root));
  const database = new Database(fileIn(root));
  change(database);
  database.close();
  return root;
}

async function answers(database: StoreDatabase) {
  const { paths: graphPaths, references, bytes } = await database.graph();
  const named = graphPaths.map((path, number) => [
    path,
    bytes[number],
    (references[number] ?? []).map((it) => graphPaths[it]).sort(),
  ]);
  return {
    closure: await database.closureOf(paths),
    sizes: [...(await database.sizesOf([...paths, absent]))].sort(),
    valid: (await database.validPaths([...paths, absent])).sort(),
    info: await database.pathInfo(paths[1]!.slice('/nix/store/'.length).slice(0, 32)),
    absent: (await database.pathInfo('0'.repeat(32))) ?? null,
    graph: named.sort(),
  };
}

/** What Nix says to the same questions. */
async function nixOwn() {
  const root = mkdtempSync(join(folder, 'nix-'));
  mkdirSync(join(root, 'nix'));
  symlinkSync(join(fixture.nix.store.root, 'nix/store'), join(root, 'nix/store'));
  return answers(reader(root).database);
}

test.each(['managed', 'system'] as const)(
  'every question to a %s store is answered without a process',
  async (kind) => {
    const { database, count } = reader(fixture.nix.store.root, kind);
    const told = await answers(database);
    expect(count.processes).toBe(0);
    expect(told.valid).toEqual([...paths].sort());
    expect(told.graph.length).toBeGreaterThan(5);
    expect(told).toEqual(await nixOwn());
    database.close();
  },
);

describe('Nix is asked', () => {
  test.each<[string, (name: string) => string]>([
    [
      'a schema of another version',
      (name) => {
        const root = copy(name);
        writeFileSync(join(root, 'nix/var/nix/db/schema'), '11');
        return root;
      },
    ],
    [
      'a table with other columns',
      (name) => copy(name, (it) => it.exec('alter table ValidPaths rename column narSize to size')),
    ],
    ['a table that is gone', (name) => copy(name, (it) => it.exec('drop table Refs'))],
    [
      'a file that is no database',
      (name) => {
        const root = copy(name);
        writeFileSync(fileIn(root), 'no database '.repeat(1000));
        return root;
      },
    ],
    [
      'no file',
      (name) => {
        const root = copy(name);
        rmSync(fileIn(root));
        return root;
      },
    ],
  ])('where there is %s', async (name, make) => {
    const { database, count } = reader(make(name.replaceAll(' ', '-')));
    expect(await answers(database)).toEqual(await nixOwn());
    expect(count.processes).toBeGreaterThanOrEqual(4);
    database.close();
  });

  test('while a writer keeps it locked, and no longer', async () => {
    const root = copy('locked', (it) => it.pragma('journal_mode = delete'));
    const { database, count } = reader(root);
    expect(await database.validPaths(paths)).toHaveLength(2);
    expect(count.processes).toBe(0);
    const writer = new Database(fileIn(root));
    writer.exec('begin exclusive');
    expect(await answers(database)).toEqual(await nixOwn());
    expect(count.processes).toBeGreaterThanOrEqual(4);
    const asked = count.processes;
    writer.exec('rollback');
    writer.close();
    await answers(database);
    expect(count.processes).toBe(asked);
    database.close();
  });
});

test('with a write-ahead log, a writer is not waited for; what it commits is seen', async () => {
  const root = copy('wal', (it) => it.pragma('journal_mode = wal'));
  const { database, count } = reader(root);
  const writer = new Database(fileIn(root));
  writer.exec(
    `begin immediate; insert into ValidPaths (path, hash, registrationTime) values ('${absent}', 'sha256:${'0'.repeat(64)}', 1)`,
  );
  expect(await database.validPaths([absent])).toEqual([]);
  writer.exec('commit');
  expect(await database.validPaths([absent])).toEqual([absent]);
  writer.close();
  expect(count.processes).toBe(0);
  database.close();
});

test('a store that was made anew is read anew, and nothing is ever written', async () => {
  const root = copy('anew');
  const { database, count } = reader(root);
  const before = readFileSync(fileIn(root));
  expect(await database.validPaths(paths)).toHaveLength(2);
  expect(readFileSync(fileIn(root)).equals(before)).toBe(true);
  const other = copy('other', (it) => it.exec('delete from Refs; delete from ValidPaths'));
  renameSync(fileIn(other), fileIn(root));
  expect(await database.validPaths(paths)).toEqual([]);
  expect(count.processes).toBe(0);
  database.close();
});
