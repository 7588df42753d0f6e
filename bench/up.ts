/**
 * `berth up` with everything warm against `docker run` of an image with the same packages: both end with a started
 * container in which a command has run. The environment's own part of a hit is measured in the daemon.
 */
import { join } from 'node:path';
import { createBerthHome, berthProgram } from './support/berth-home.ts';
import { importEnvironment, startDocker } from './support/docker.ts';
import { inTurns, series, timeProcess, writeResult } from './support/measure.ts';

const runs = 30;
const config = '{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.nodejs pkgs.git pkgs.ripgrep ]; }\n';

const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
const docker = await startDocker();
try {
  const project = berth.project('bench', config);
  const cold = berth.up(project);
  const { environment } = berth.environment(project);
  importEnvironment(docker, storeRoot ?? join(berth.home, 'store'), environment, 'bench:env');
  const dockerRun = (...flags: string[]) => [...docker.client, 'run', '--rm', ...flags, 'bench:env', 'true'];

  const started: number[] = [];
  const environmentPart: number[] = [];
  const samples = await inTurns(runs, {
    upRunning: () => timeProcess(berthProgram, ['up', project], berth.env),
    upStarts: () => {
      berth.berth(['rm', 'bench']);
      return timeProcess(berthProgram, ['up', project], berth.env);
    },
    dockerRun: () => timeProcess('docker', dockerRun()),
    dockerRunWithoutNetwork: () => timeProcess('docker', dockerRun('--network=none')),
    daemon: () => {
      berth.berth(['rm', 'bench']);
      const { timingsMs } = berth.up(project);
      started.push(timingsMs.total);
      environmentPart.push(timingsMs.read + timingsMs.evaluate + timingsMs.build);
      return undefined;
    },
  });
  const evaluation: number[] = [];
  for (let edit = 0; edit < 10; edit += 1) {
    berth.project('bench', `# ${edit}\n${config}`);
    evaluation.push(berth.environment(project).timingsMs.evaluate);
  }
  const all = {
    upStarts: series(
      'whole process: berth up, warm, the berth is started, with a network of its own',
      'ms',
      samples['upStarts'] ?? [],
    ),
    upRunning: series('whole process: berth up, warm, the berth runs', 'ms', samples['upRunning'] ?? []),
    dockerRun: series(
      'whole process: docker run --rm of the same packages, true, with its default network',
      'ms',
      samples['dockerRun'] ?? [],
    ),
    dockerRunWithoutNetwork: series(
      'whole process: docker run --rm --network=none of the same packages, true',
      'ms',
      samples['dockerRunWithoutNetwork'] ?? [],
    ),
    upInDaemon: series('berth up, warm, the berth is started, as the daemon measures it', 'ms', started),
    hit: series('read, trace and derivation of a hit, in the daemon', 'ms', environmentPart),
    evaluation: series('evaluation after an edit that means nothing, in the daemon', 'ms', evaluation),
  };
  const ratio = Math.round((all.dockerRun.median / all.upStarts.median) * 10) / 10;
  writeResult({
    bench: 'up',
    question: 'How much faster is `berth up` than `docker run` of an image with the same packages?',
    series: all,
    figures: {
      dockerRunToUpStarts: ratio,
      dockerRunWithoutNetworkToUpStarts:
        Math.round((all.dockerRunWithoutNetwork.median / all.upStarts.median) * 10) / 10,
      dockerRunToUpRunning: Math.round((all.dockerRun.median / all.upRunning.median) * 10) / 10,
      hitMs: all.hit.median,
      evaluationMs: all.evaluation.median,
    },
    bounds: [
      { what: 'up, warm, against docker run', bound: 'at least 10 times faster', met: ratio >= 10 },
      { what: 'environment part of a hit, in the daemon', bound: 'at most 5 ms', met: all.hit.median <= 5 },
    ],
    notes: [
      `cold: ${cold.timingsMs.total} ms, ${environment.closure.paths.length} paths, ${environment.closure.bytes} bytes`,
    ],
  });
} finally {
  await docker.close();
  berth.close();
}
