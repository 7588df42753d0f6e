/**
 * Evaluation time against the number of packages: 1, 10, 100, on the source debian. The configs say it in a way that needs the
 * evaluator; bench/no-evaluation.ts is about those that do not.
 */
import { createBerthHome } from './support/berth-home.ts';
import { hundredPackages, tenPackages } from './support/hundred-packages.ts';
import { series, writeResult, type Series } from './support/measure.ts';

const runs = 15;
const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
try {
  const all: Record<string, Series> = {};
  for (const packages of [tenPackages.slice(0, 1), tenPackages, hundredPackages]) {
    const list = packages.map((name) => `pkgs."${name}"`).join(' ');
    const config = (edit: number) => `# ${edit}\n{ pkgs, ... }: { packages = [ ${list} ] ++ [ ]; }\n`;
    const project = berth.project(`p${packages.length}`, config(-1));
    const { closure } = berth.environment(project).environment;
    const samples: number[] = [];
    for (let edit = 0; edit < runs; edit += 1) {
      berth.project(`p${packages.length}`, config(edit));
      samples.push(berth.environment(project).timingsMs.evaluate);
    }
    all[`packages${packages.length}`] = series(
      `evaluation of ${packages.length} packages, ${closure.paths.length} store paths, after an edit that means nothing`,
      'ms',
      samples,
    );
  }
  const figures = Object.fromEntries(Object.entries(all).map(([name, { median }]) => [`${name}Ms`, median]));
  writeResult({
    bench: 'evaluation',
    question: 'How does the time of an evaluation grow with the number of packages?',
    series: all,
    figures,
    bounds: [
      {
        what: 'evaluation of ten packages, sandboxed and traced',
        bound: 'under 500 ms',
        met: (all['packages10']?.median ?? Infinity) < 500,
      },
    ],
  });
} finally {
  berth.close();
}
