/** A worker that is a container of an OCI runtime, which is driven directly (opencontainers/runtime-spec 1.0). */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { hasProcessNamespaces } from './life-line.ts';
import { createNixWorker, type Isolation, type NixWorkerOptions } from './nix-worker.ts';
import { isFolder, workerCapabilities, type WorkerView } from './worker-view.ts';
import type { Worker } from './worker.ts';

/** The runtime, as the embedded engine has found it. */
export interface WorkerRuntime {
  readonly name: 'crun' | 'runc';
  readonly program: string;
}

export interface ContainerWorkerOptions extends NixWorkerOptions {
  /** Asked when the first task comes. @throws BerthError ENGINE_UNAVAILABLE */
  readonly runtime: () => Promise<WorkerRuntime>;
}

export function createContainerWorker(options: ContainerWorkerOptions): Worker {
  return createNixWorker(options, containerIsolation(options));
}

function containerIsolation({ folder, runtime, number }: ContainerWorkerOptions): Isolation {
  const bundle = join(folder, 'bundle');
  const state = join(folder, 'runtime');
  return {
    name: 'container',
    needs: 'See `berth doctor` for which OCI runtime works here; or set builder.isolation to process.',
    async enter(command, view, environment) {
      if (!hasProcessNamespaces()) {
        throw new BerthError('ENGINE_UNAVAILABLE', 'Builders in containers need root, and a kernel with ns_last_pid.', {
          hint: 'Set builder.isolation to process.',
        });
      }
      const { name, program } = await runtime();
      rmSync(bundle, { recursive: true, force: true });
      rmSync(state, { recursive: true, force: true });
      makeRoot(join(bundle, 'rootfs'), view);
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(ociConfig(command, view, environment)), {
        mode: 0o600,
      });
      // A name of its own each time, since runc names a control group by it, which a killed one leaves.
      const id = `berth-worker-${number}-${randomBytes(4).toString('hex')}`;
      const run = ['--root', state, 'run', '--bundle', bundle, id];
      if (name === 'runc') return [program, ...run];
      // crun 1.8 refuses to work beside the version 2 tree of a hybrid layout, and needs none of it here.
      return ['sh', '-c', hideGroups, 'sh', program, '--cgroup-manager', 'disabled', ...run];
    },
    async leave() {
      await rm(state, { recursive: true, force: true });
    },
  };
}

/** In the worker's own mount namespace. */
const hideGroups = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"';

/** Makes the container's root folder: nothing but places for mounts. */
function makeRoot(root: string, { links, mounts }: WorkerView): void {
  for (const path of ['/proc', '/dev', '/sys']) mkdirSync(join(root, path), { recursive: true });
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(root, path));
  for (const { path, source } of mounts) {
    // One within another is made by the runtime, in what is mounted there.
    if (mounts.some((other) => other.path !== path && path.startsWith(`${other.path}/`))) continue;
    const place = join(root, path);
    if (isFolder(source)) mkdirSync(place, { recursive: true });
    else {
      mkdirSync(dirname(place), { recursive: true });
      writeFileSync(place, '');
    }
  }
}

function ociConfig(
  command: readonly string[],
  view: WorkerView,
  environment: Readonly<Record<string, string>>,
): object {
  const mount = (destination: string, type: string, ...options: string[]) => ({
    ...{ destination, type, source: type },
    options,
  });
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      cwd: '/',
      args: command,
      env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      capabilities: { bounding: workerCapabilities, effective: workerCapabilities, permitted: workerCapabilities },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: false },
    hostname: 'berth-worker',
    mounts: [
      // The life line's own, whole: builds' sandboxes within can mount one only where no part of it is hidden.
      { destination: '/proc', type: 'bind', source: '/proc', options: ['rbind', 'rw'] },
      mount('/dev', 'tmpfs', 'nosuid', 'strictatime', 'mode=755', 'size=65536k'),
      mount('/dev/pts', 'devpts', 'nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
      mount('/dev/shm', 'tmpfs', 'nosuid', 'nodev', 'mode=1777'),
      ...view.mounts.map(({ path, source, readOnly }) => ({
        destination: path,
        type: 'bind',
        source,
        options: [...(readOnly ? ['bind', 'ro'] : ['rbind', 'rw'])],
      })),
    ],
    linux: {
      // Processes are in the life line's namespace; the network is the host's, since Nix downloads.
      namespaces: ['mount', 'ipc', 'uts', 'cgroup'].map((type) => ({ type })),
      resources: { devices: [{ allow: true, access: 'rwm' }] },
      maskedPaths: [],
      readonlyPaths: [],
    },
  };
}
