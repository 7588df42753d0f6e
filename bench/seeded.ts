/**
 * The first start of a project on a machine that has never had its packages, against the first start on one whose store was
 * seeded with them from an archive. Each sample has a home and a store of its own.
 */
import { rmSync } from 'node:fs';
import { createBerthHome } from './support/berth-home.ts';
import { inTurns, series, writeResult } from './support/measure.ts';

const runs = 3;
const config = '{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.git pkgs.ripgrep pkgs.jq ]; }\n';
const archive = `/tmp/berth-bench-seed-${process.pid}.tar`;

function makeArchive(): void {
  const berth = createBerthHome();
  try {
    // Packages by name, not the project: what is seeded is what people use, not what they will write.
    berth.berth(['seed', 'add', '--quiet', 'python3', 'git', 'ripgrep', 'jq']);
    berth.berth(['seed', 'export', '--quiet', archive]);
  } finally {
    berth.close();
  }
}

function firstStart(seeded: boolean, imports: number[]): number {
  const berth = createBerthHome();
  try {
    if (seeded) {
      const start = performance.now();
      berth.berth(['seed', 'import', '--quiet', '--trust', archive]);
      imports.push(performance.now() - start);
    }
    return berth.up(berth.project('bench', config)).timingsMs.total;
  } finally {
    berth.close();
  }
}

makeArchive();
try {
  const imports: number[] = [];
  const samples = await inTurns(
    runs,
    { unseeded: () => firstStart(false, imports), seeded: () => firstStart(true, imports) },
    { warmup: 0 },
  );
  const all = {
    unseeded: series('first berth up, empty store, as the daemon measures it', 'ms', samples['unseeded'] ?? []),
    seeded: series('first berth up, seeded store', 'ms', samples['seeded'] ?? []),
    import: series('whole process: berth seed import, ahead of need', 'ms', imports),
  };
  writeResult({
    bench: 'seeded',
    question: 'What does a seeded store save at the first start?',
    series: all,
    figures: { unseededToSeeded: Math.round((all.unseeded.median / all.seeded.median) * 10) / 10 },
    bounds: [],
  });
} finally {
  rmSync(archive, { force: true });
}
