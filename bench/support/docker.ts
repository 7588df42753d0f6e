/** A Docker server of the bench's own, ended with it, and an image that holds what an environment holds. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../src/environment/environment.ts';

export interface DockerServer {
  /** Arguments that make the docker client speak to this server. */
  readonly client: readonly string[];
  docker(args: readonly string[], input?: Buffer): string;
  close(): Promise<void>;
}

export async function startDocker(): Promise<DockerServer> {
  const folder = mkdtempSync('/tmp/berth-bench-docker-');
  const socket = join(folder, 'docker.sock');
  // In a network namespace of its own: its bridge and firewall rules are not the host's.
  const flags = [
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--pidfile', join(folder, 'pid')],
    ...['-H', `unix://${socket}`],
  ];
  const server: ChildProcess = spawn(
    'unshare',
    ['--net', 'sh', '-c', 'ip link set lo up && exec dockerd "$@"', 'sh', ...flags],
    { stdio: 'ignore' },
  );
  const client = ['-H', `unix://${socket}`];
  const docker = (args: readonly string[]) =>
    execFileSync('docker', [...client, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  for (let attempt = 0; ; attempt += 1) {
    try {
      docker(['version']);
      break;
    } catch (error) {
      if (attempt > 150 || server.exitCode !== null) throw error;
      await sleep(200);
    }
  }
  return {
    client,
    docker,
    async close() {
      server.kill('SIGTERM');
      for (let attempt = 0; attempt < 100 && server.exitCode === null; attempt += 1) await sleep(100);
      execFileSync('sh', ['-c', `umount -R ${folder}/data/* ${folder}/exec/* 2>/dev/null; true`]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Imports an environment as one image: its closure at /nix/store, the FHS view at /usr, its variables.
 * @param storeRoot the folder whose nix/store holds the closure
 */
export function importEnvironment(
  server: DockerServer,
  storeRoot: string,
  environment: Environment,
  tag: string,
): void {
  const staging = mkdtempSync('/tmp/berth-bench-image-');
  for (const folder of ['run/berth', 'tmp', 'root', 'work', 'dev', 'proc', 'sys', 'etc', 'var']) {
    mkdirSync(join(staging, folder), { recursive: true });
  }
  if (environment.fhs) {
    symlinkSync(environment.fhs, join(staging, 'run/berth/fhs'));
    symlinkSync('run/berth/fhs/usr', join(staging, 'usr'));
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(staging, name));
  }
  const list = join(staging, 'tmp/paths');
  writeFileSync(list, environment.closure.paths.map((path) => `${path.slice(1)}\n`).join(''));
  const variables = Object.entries(environment.variables).filter(([, value]) => !/[\n"']/.test(value));
  const changes = variables.flatMap(([name, value]) => ['-c', `ENV ${name}="${value}"`]);
  const quoted = [...server.client, 'import', ...changes, '-', tag].map((word) => `'${word}'`).join(' ');
  execFileSync('sh', [
    '-c',
    `tar -c --exclude=tmp/paths -C ${staging} . -C ${storeRoot} -T ${list} | docker ${quoted} >/dev/null`,
  ]);
  rmSync(staging, { recursive: true });
}
