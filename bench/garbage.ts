/** How long it takes to find what is garbage: from the store's graph, and by Nix itself. Stores of paths without content. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { deadPaths } from '../src/environment/garbage-dead.ts';
import { toNixBase32 } from '../src/nix/base32.ts';
import { createNix } from '../src/nix/nix.ts';
import { digestOf } from '../src/core/digest.ts';
import { series, writeResult, type Series } from './support/measure.ts';

const sizes = [1_000, 10_000, 100_000];
const runs = Number(process.env['BERTH_BENCH_RUNS'] ?? 15);
/** Each path refers to so many of the paths before it; about as in a store of real packages. */
const references = 8;
const reach = 2_000;
const referencesOf = (number: number) =>
  number < 2
    ? []
    : [
        ...new Set(
          Array.from({ length: references }, (_, at) => Math.max(1, number - 1 - ((number * 31 + at * 257) % reach))),
        ),
      ];

const folder = mkdtempSync('/tmp/berth-bench-garbage-');
try {
  const all: Record<string, Series> = {};
  const figures: Record<string, number> = {};
  for (const size of sizes) {
    const nix = makeStore(join(folder, String(size)), size);
    const own: number[] = [];
    let found: readonly string[] = [];
    for (let run = 0; run < runs; run += 1) {
      const start = performance.now();
      const [graph, roots] = await Promise.all([
        nix.graph(),
        nix.process.require('nix-store', ['--gc', '--print-roots']),
      ]);
      found = deadPaths(
        graph,
        roots.split('\n').map((line) => line.split(' -> ')[1] ?? ''),
      ).paths;
      own.push(performance.now() - start);
    }
    // Nix takes minutes on the largest.
    const theirs: number[] = [];
    let told: readonly string[] = [];
    for (let run = 0; run < (size >= 100_000 ? 1 : 3); run += 1) {
      const start = performance.now();
      told = (await nix.collectGarbage({ dryRun: true })).paths;
      theirs.push(performance.now() - start);
    }
    if ([...found].sort().join() !== [...told].sort().join()) {
      throw new Error(`Berth finds ${found.length} dead paths of ${size}, Nix ${told.length}.`);
    }
    all[`berth${size}`] = series(`${size} paths, ${found.length} of them dead: found from the graph`, 'ms', own);
    all[`nix${size}`] = series(`the same by nix-store --gc --print-dead`, 'ms', theirs);
    figures[`berth${size}Ms`] = all[`berth${size}`]?.median ?? NaN;
    figures[`nix${size}Ms`] = all[`nix${size}`]?.median ?? NaN;
    await nix.close();
  }
  writeResult({
    bench: 'garbage',
    question: 'How long does it take to find what is garbage in a store of 100,000 paths?',
    series: all,
    figures: {
      ...figures,
      ratio100000: Math.round(((figures['nix100000Ms'] ?? NaN) / (figures['berth100000Ms'] ?? NaN)) * 10) / 10,
    },
    bounds: [
      {
        what: 'garbage of 100,000 paths found',
        bound: 'under 2 s',
        met: (figures['berth100000Ms'] ?? Infinity) < 2000,
      },
    ],
    notes: ['Both sides find the same paths; that is checked in each run.'],
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** A store with so many paths, of which the roots need about half. */
function makeStore(root: string, size: number) {
  const nix = createNix({
    store: { kind: 'managed', root },
    nixFolder: join(import.meta.dirname, '../nix'),
    home: join(root, 'home'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  mkdirSync(root, { recursive: true });
  // Nix itself makes the tables.
  nix.process.prepare();
  const [program = '', ...words] = nix.process.command('nix-store');
  execFileSync(program, [...words, '--gc', '--print-roots', ...nix.process.storeArguments()], {
    env: nix.process.environment('client'),
    stdio: 'ignore',
  });
  const database = new Database(join(root, 'nix/var/nix/db/db.sqlite'));
  const insertPath = database.prepare(
    'insert into ValidPaths (id, path, hash, registrationTime, narSize) values (?, ?, ?, 1, ?)',
  );
  const insertReference = database.prepare('insert into Refs (referrer, reference) values (?, ?)');
  const paths: string[] = [''];
  database.exec('begin');
  for (let number = 1; number <= size; number += 1) {
    const hash = toNixBase32(Buffer.from(digestOf(String(number)).slice('sha256:'.length), 'hex').subarray(0, 20));
    const path = `/nix/store/${hash}-package-${number}-1.${number % 10}`;
    paths.push(path);
    writeFileSync(join(root, path), '');
    insertPath.run(number, path, `sha256:${'0'.repeat(64)}`, 1000 + number);
    for (const reference of referencesOf(number)) insertReference.run(number, reference);
  }
  database.exec('commit');
  database.close();
  const roots = join(root, 'nix/var/nix/gcroots');
  mkdirSync(roots, { recursive: true });
  for (let root = 0; root < 100; root += 1) {
    const number = Math.floor(size * 0.5) + root;
    symlinkSync(paths[Math.min(size, number)] ?? '', join(roots, `bench-${root}`));
  }
  return nix;
}
