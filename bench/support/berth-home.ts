/** A home of its own for a bench, and the command in it as people call it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { EnvironmentResult, UpResult } from '../../src/environment/service.ts';

const root = resolve(import.meta.dirname, '../..');
export const berthProgram = join(root, 'bin/berth');

export interface BerthHome {
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  /** Makes a project with a config of the source debian. */
  project(name: string, config: string): string;
  berth(args: readonly string[]): string;
  up(project: string): UpResult;
  environment(project: string): EnvironmentResult;
  stopDaemon(): void;
  close(): void;
}

/** @param storeRoot a store that is there, for benches that are not about filling one; default: an empty one */
export function createBerthHome(storeRoot?: string): BerthHome {
  const home = mkdtempSync('/tmp/berth-bench-');
  const env = {
    PATH: process.env['PATH'],
    HOME: home,
    BERTH_HOME: home,
    BERTH_SOURCE: 'debian',
    BERTH_DEBIAN_SUITE: 'bookworm',
    ...(storeRoot ? { BERTH_STORE_ROOT: storeRoot } : {}),
  };
  const berth = (args: readonly string[]) => {
    const result = spawnSync(berthProgram, args, { env, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
    if (result.status !== 0) throw new Error(`berth ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result.stdout;
  };
  const stopDaemon = () => {
    try {
      const pid = readFileSync(join(home, 'run/daemon.pid'), 'utf8').trim();
      execFileSync('sh', ['-c', `kill ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.05; done`]);
    } catch {
      // None runs.
    }
  };
  return {
    home,
    env,
    project(name, config) {
      const folder = join(home, 'projects', name);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'config.nix'), config);
      return folder;
    },
    berth,
    up: (project) => JSON.parse(berth(['up', '--json', '--quiet', project])) as UpResult,
    environment: (project) => JSON.parse(berth(['env', '--json', '--quiet', project])) as EnvironmentResult,
    stopDaemon,
    close() {
      for (const { name } of (JSON.parse(berth(['ps', '--json'])) as { berths: { name: string }[] }).berths) {
        berth(['rm', name]);
      }
      stopDaemon();
      execFileSync('sh', ['-c', `chmod -R u+w ${home} && rm -rf ${home}`]);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
