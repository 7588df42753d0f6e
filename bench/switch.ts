/**
 * One package more in a container that runs, until `which` finds it there, against the rebuild of an image and the restart
 * of its container. The package is in the store, and in the image's build context, before.
 *   npm run bench bench/switch.ts [-- RUNS]
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { berthProgram, createBerthHome } from './support/berth-home.ts';
import { importEnvironment, startDocker } from './support/docker.ts';
import { inTurns, series, timeProcess, writeResult } from './support/measure.ts';

const runs = Number(process.argv[2] ?? 50);
const configOf = (packages: string, more = '') =>
  `{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.git ${packages} ]; ${more} }\n`;

const storeRoot = process.env['BERTH_STORE_ROOT'];
const berth = createBerthHome(storeRoot);
const docker = await startDocker();
const context = mkdtempSync('/tmp/berth-bench-switch-');
try {
  const project = berth.project('bench', configOf('pkgs.ripgrep'));
  berth.up(project);
  const larger = berth.environment(project).environment;
  berth.project('bench', configOf(''));
  berth.up(project);
  const smaller = berth.environment(project).environment;

  // The image's side has the best case: one COPY of what is new, on top of an image with all else.
  const store = storeRoot ?? join(berth.home, 'store');
  importEnvironment(docker, store, smaller, 'bench:env');
  const added = larger.closure.paths.filter((path) => !smaller.closure.paths.includes(path));
  mkdirSync(join(context, 'new'));
  for (const path of added) {
    cpSync(join(store, path), join(context, 'new', path.slice('/nix/store/'.length)), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
  const program = added.find((path) => path.includes('ripgrep')) ?? '';
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM bench:env\nCOPY new/ /nix/store/\nENV PATH=${program}/usr/bin:/usr/bin:/bin\n`,
  );
  const client = [...docker.client];
  execFileSync('docker', [...client, 'run', '-d', '--name', 'bench', 'bench:env', 'sleep', 'infinity']);

  const which = ['exec', 'bench', '--', 'sh', '-c', 'command -v rg'];
  const back = (more = '') => {
    berth.project('bench', configOf('', more));
    berth.up(project);
  };
  let edit = 0;
  const timeAll = (...steps: (readonly string[])[]) =>
    steps.reduce((sum, args) => sum + timeProcess(berthProgram, args, berth.env), 0);
  const samples = await inTurns(runs, {
    addInside: () => {
      back();
      return timeAll(['exec', 'bench', '--', 'sh', '-c', '/berth/bin/berth add ripgrep && command -v rg']);
    },
    upKnown: () => {
      back();
      berth.project('bench', configOf('pkgs.ripgrep'));
      return timeAll(['up', project], which);
    },
    addOnHost: () => {
      back();
      return timeAll(['add', '--to', project, 'ripgrep'], which);
    },
    addNew: () => {
      // A variable of its own each time: this environment was never evaluated and never built.
      edit += 1;
      back(`env.EDIT = "${process.pid}-${edit}";`);
      return timeAll(['exec', 'bench', '--', 'sh', '-c', '/berth/bin/berth add ripgrep && command -v rg']);
    },
    rollback: () => {
      berth.project('bench', configOf('pkgs.ripgrep'));
      berth.up(project);
      back();
      return timeAll(['exec', 'bench', '--', 'sh', '-c', '/berth/bin/berth rollback && command -v rg']);
    },
    image: () => {
      const start = performance.now();
      const run = (...args: string[]) => execFileSync('docker', [...client, ...args], { stdio: 'pipe' });
      run('build', '--no-cache', '-q', '-t', 'bench:more', context);
      run('rm', '-f', 'bench');
      run('run', '-d', '--name', 'bench', 'bench:more', 'sleep', 'infinity');
      run('exec', 'bench', 'sh', '-c', 'command -v rg');
      return performance.now() - start;
    },
  });
  const of = (name: string, what: string) => series(what, 'ms', samples[name] ?? []);
  const all = {
    addInside: of('addInside', '`berth add` inside, to an environment that was had before, and `command -v`'),
    upKnown: of(
      'upKnown',
      'the config is edited, `berth up`, `berth exec … command -v`: an environment that was had before',
    ),
    addOnHost: of('addOnHost', '`berth add` on the host (a start of Node), `berth exec … command -v`'),
    addNew: of('addNew', '`berth add` inside, to an environment that is evaluated and built for it, and `command -v`'),
    rollback: of('rollback', '`berth rollback` inside, and `command -v`'),
    image: of('image', 'docker build of one COPY onto the image, rm, run, exec … command -v'),
  };
  const ratio = (name: keyof typeof all) => Math.round((all.image.median / all[name].median) * 10) / 10;
  writeResult({
    bench: 'switch',
    question: 'How long until a package that is in the store works in a container that runs?',
    series: all,
    figures: {
      imageToAddInside: ratio('addInside'),
      imageToUpKnown: ratio('upKnown'),
      imageToAddOnHost: ratio('addOnHost'),
      imageToAddNew: ratio('addNew'),
      addInsideMs: all.addInside.median,
      addNewMs: all.addNew.median,
    },
    bounds: [
      { what: 'a known environment, against the image', bound: '50 times faster', met: ratio('addInside') >= 50 },
      { what: 'a known environment, p50', bound: 'at most 150 ms', met: all.addInside.median <= 150 },
      { what: 'one made for it, against the image', bound: '50 times faster', met: ratio('addNew') >= 50 },
      { what: 'one made for it, p50', bound: 'at most 150 ms', met: all.addNew.median <= 150 },
    ],
    notes: [`${added.length} store paths are new in the larger environment`],
  });
} finally {
  execFileSync('sh', ['-c', `docker ${docker.client.join(' ')} rm -f bench >/dev/null 2>&1; true`]);
  await docker.close();
  berth.close();
  rmSync(context, { recursive: true, force: true });
}
