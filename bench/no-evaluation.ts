/**
 * What a config of 1, 10 and 100 packages means: parsed and worked out from the index, against evaluated. The same packages in
 * the same run; the evaluated config says the same in a way that only Nix can read.
 */
import { createBerthHome } from './support/berth-home.ts';
import { hundredPackages } from './support/hundred-packages.ts';
import { inTurns, series, writeResult, type Series } from './support/measure.ts';

const runs = Number(process.env['BERTH_BENCH_RUNS'] ?? 50);
const berth = createBerthHome(process.env['BERTH_STORE_ROOT']);
try {
  const all: Record<string, Series> = {};
  const figures: Record<string, number> = {};
  for (const count of [1, 10, 100]) {
    const list = hundredPackages
      .slice(0, count)
      .map((name) => `pkgs."${name}"`)
      .join(' ');
    let edit = 0;
    const evaluate = (name: string, more: string, env = '') => {
      edit += 1;
      const config = `# ${edit}\n{ pkgs, ... }: { packages = [ ${list} ]${more}; ${env} }\n`;
      return berth.environment(berth.project(`${name}-${count}`, config)).timingsMs.evaluate;
    };
    const samples = await inTurns(runs, {
      parsed: () => evaluate('parsed', ''),
      evaluated: () => evaluate('evaluated', ' ++ [ ]'),
    });
    // What was never in the store: its derivation is written.
    const written = await inTurns(Math.min(runs, 15), {
      parsed: () => evaluate('parsed', '', `env.EDIT = "${Date.now()}-${edit}";`),
      evaluated: () => evaluate('evaluated', ' ++ [ ]', `env.EDIT = "${Date.now()}-${edit}";`),
    });
    // A daemon that has just started has read nothing of the index.
    const cold = Array.from({ length: Math.min(runs, 5) }, () => {
      berth.stopDaemon();
      return evaluate('parsed', '');
    });
    const put = (key: string, what: string, values: number[] | undefined) => {
      const made = series(`${count} packages, ${what}`, 'ms', values ?? []);
      all[`${key}${count}`] = made;
      figures[`${key}${count}Ms`] = made.median;
      return made.median;
    };
    const parsed = put('parsed', 'an edit that means nothing: parsed', samples['parsed']);
    const evaluated = put('evaluated', 'the same, evaluated', samples['evaluated']);
    put('parsedCold', 'parsed by a daemon that has just started', cold);
    put('parsedNew', 'an environment that is new: parsed, its derivation written', written['parsed']);
    put('evaluatedNew', 'the same, evaluated', written['evaluated']);
    figures[`ratio${count}`] = Math.round((evaluated / parsed) * 10) / 10;
  }
  writeResult({
    bench: 'no-evaluation',
    question: 'How much faster is a list of packages parsed than evaluated?',
    series: all,
    figures,
    bounds: [
      { what: 'ten packages, index warm', bound: 'under 30 ms', met: (figures['parsed10Ms'] ?? Infinity) < 30 },
      { what: 'ten packages, with writing', bound: 'under 60 ms', met: (figures['parsedNew10Ms'] ?? Infinity) < 60 },
    ],
  });
} finally {
  berth.close();
}
