/** How much memory the writing of an image takes, and how long, for a closure of 5 GB.  npx vite-node bench/image-memory.ts */
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { series, writeResult } from './support/measure.ts';

const hash = 'abcdfghijklmnpqrsvwxyz0123456789';
const count = 25;
const pathBytes = 200 * 1024 * 1024;
const total = count * pathBytes;
const bound = 200_000_000;

const root = resolve(import.meta.dirname, '..');
const folder = mkdtempSync(join(root, 'node_modules/.image-memory-'));
try {
  const paths = Array.from({ length: count }, (_, number) => {
    const name = `${hash}-large-${number}`;
    mkdirSync(join(folder, 'store', name), { recursive: true });
    // Sparse: what counts is how many bytes go through, not what they are.
    const file = openSync(join(folder, 'store', name, 'data'), 'w');
    writeSync(file, name);
    ftruncateSync(file, pathBytes);
    closeSync(file);
    return `/nix/store/${name}`;
  });
  // As the daemon runs: one bundle, no tool of development in the process.
  const driver = join(folder, 'driver.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'support/image-memory-driver.ts')],
    ...{ outfile: driver, bundle: true, platform: 'node', format: 'esm', packages: 'external', logLevel: 'error' },
  });
  const run = (compression: string) => {
    const start = performance.now();
    const said = execFileSync(process.execPath, [driver, folder, compression, ...paths], { encoding: 'utf8' });
    const { peakBytes } = JSON.parse(said) as { peakBytes: number };
    return { peakBytes, ms: performance.now() - start };
  };
  const results = Object.fromEntries(['none', 'gzip', 'zstd'].map((compression) => [compression, run(compression)]));
  writeResult({
    bench: 'image-memory',
    question: 'How much memory does writing an image of a 5 GB closure take?',
    series: Object.fromEntries(
      Object.entries(results).flatMap(([name, { peakBytes, ms }]) => [
        [`${name}.peak`, series(`most resident memory, layers packed by ${name}`, 'bytes', [peakBytes])],
        [`${name}.time`, series(`layers made and the archive written, packed by ${name}`, 'ms', [ms])],
      ]),
    ),
    figures: Object.fromEntries(
      Object.entries(results).map(([name, { peakBytes }]) => [`${name}.peakMiB`, Math.round(peakBytes / 2 ** 20)]),
    ),
    bounds: Object.entries(results).map(([name, { peakBytes }]) => ({
      what: `resident memory while writing ${Math.round(total / 1e8) / 10} GB, ${name}`,
      bound: '< 200 MB',
      met: peakBytes < bound,
    })),
    notes: ['The closure is sparse files of 200 MiB each: packing zeros is quicker than packing programs.'],
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
