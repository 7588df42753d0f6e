/**
 * A warm environment as a whole process from a shell: `berth env` and `berth run` against `nix-shell` on the same config in
 * the same store. nix-shell looks for the store at /nix only, so all of it runs in a mount namespace of its own, where
 * Berth's store is mounted there. cached-nix-shell takes part where it is on the PATH.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeNixpkgs } from '../test/support/nixpkgs-fixture.ts';
import { berthProgram, createBerthHome } from './support/berth-home.ts';
import { inTurns, series, timeProcess, writeResult } from './support/measure.ts';

const inside = 'BENCH_INSIDE_NAMESPACE';
const runs = Number(process.env['BENCH_RUNS'] ?? 50);
/** As nix-shell's own manual has it; pkgs is the tree that `<nixpkgs>` names. */
const config = `{ pkgs ? import <nixpkgs> { } }:
pkgs.mkShell { packages = [ pkgs.greeter ]; GREETING = "hello"; }
`;

if (process.env[inside] === undefined) {
  const runner = join(import.meta.dirname, '../node_modules/.bin/vite-node');
  const again = [runner, import.meta.filename];
  const { status } = spawnSync('unshare', ['--mount', '--propagation', 'private', ...again], {
    stdio: 'inherit',
    env: { ...process.env, [inside]: '1' },
  });
  process.exitCode = status ?? 1;
} else await measure();

async function measure(): Promise<void> {
  const folder = mkdtempSync('/tmp/berth-bench-nixpkgs-');
  const nixpkgs = makeNixpkgs(join(folder, 'nixpkgs'));
  const berth = createBerthHome();
  Object.assign(berth.env, { BERTH_SOURCE: 'nixpkgs', BERTH_NIXPKGS_URL: nixpkgs });
  try {
    const project = berth.project('bench', config);
    const { environment } = berth.environment(project);
    mkdirSync('/nix', { recursive: true });
    execFileSync('mount', ['--bind', join(berth.home, 'store/nix'), '/nix']);
    const nixEnvironment = {
      PATH: process.env['PATH'],
      HOME: folder,
      NIX_PATH: `nixpkgs=${nixpkgs}`,
      NIX_BUILD_SHELL: '/bin/bash',
      NIX_REMOTE: 'local',
      NIX_CONFIG: 'sandbox = false\nbuild-users-group =\nsubstituters =',
    };
    const file = join(project, 'config.nix');
    const shell = (program: string, ...more: string[]) =>
      timeProcess(program, [file, ...more, '--run', 'greeter >/dev/null 2>&1; true'], nixEnvironment);
    const cached = spawnSync('sh', ['-c', 'command -v cached-nix-shell']).status === 0;
    const samples = await inTurns(runs, {
      berthEnv: () => timeProcess(berthProgram, ['env', project], berth.env),
      berthRun: () => timeProcess(berthProgram, ['run', project, '--', 'true'], berth.env),
      nixShell: () => shell('nix-shell'),
      ...(cached ? { cachedNixShell: () => shell('cached-nix-shell') } : {}),
    });
    const all = {
      berthEnv: series('whole process: berth env, warm', 'ms', samples['berthEnv'] ?? []),
      berthRun: series('whole process: berth run -- true, warm, in a container', 'ms', samples['berthRun'] ?? []),
      nixShell: series('whole process: nix-shell --run, warm, no container', 'ms', samples['nixShell'] ?? []),
      ...(cached
        ? { cachedNixShell: series('whole process: cached-nix-shell --run', 'ms', samples['cachedNixShell'] ?? []) }
        : {}),
    };
    const ratio = (one: number, other: number) => Math.round((one / other) * 10) / 10;
    const toEnv = ratio(all.nixShell.median, all.berthEnv.median);
    writeResult({
      bench: 'warm-environment',
      question: 'How much faster is a warm environment than `nix-shell` on the same config in the same store?',
      series: all,
      figures: { nixShellToBerthEnv: toEnv, nixShellToBerthRun: ratio(all.nixShell.median, all.berthRun.median) },
      bounds: [{ what: 'berth env, warm, against nix-shell', bound: 'at least 20 times faster', met: toEnv >= 20 }],
      notes: [
        `The closure has ${environment.closure.paths.length} paths; <nixpkgs> is the small tree of the tests, which evaluates faster than nixpkgs.`,
        ...(cached ? [] : ['cached-nix-shell is not on the PATH: what crates.io has under its name is a placeholder.']),
      ],
    });
  } finally {
    if (existsSync('/nix/var/nix/db')) spawnSync('umount', ['/nix']);
    berth.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
