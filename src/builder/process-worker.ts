/** A worker that is a sandboxed process: bubblewrap's namespaces, the host's network. */
import { hasProcessNamespaces } from './life-line.ts';
import { createNixWorker, type Isolation, type NixWorkerOptions } from './nix-worker.ts';
import { workerCapabilities, type WorkerView } from './worker-view.ts';
import type { Worker } from './worker.ts';

export function createProcessWorker(options: NixWorkerOptions): Worker {
  return createNixWorker(options, processIsolation);
}

const processIsolation: Isolation = {
  name: 'process',
  needs: 'Install bubblewrap, and allow user namespaces for ordinary users; or set builder.isolation to container.',
  enter: (command, view) => Promise.resolve(['bwrap', ...bubblewrapArguments(view), '--', ...command]),
};

function bubblewrapArguments({ links, mounts }: WorkerView): string[] {
  return [
    ...['--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', '--hostname', 'berth-worker'],
    ...identity(),
    // Not one of bubblewrap's own, which hides parts: builds' sandboxes within can then mount none.
    ...['--bind', '/proc', '/proc', '--dev', '/dev'],
    ...Object.entries(links).flatMap(([path, target]) => ['--symlink', target, path]),
    ...mounts.flatMap(({ path, source, readOnly }) => [readOnly ? '--ro-bind' : '--bind', source, path]),
    ...['--chdir', '/'],
  ];
}

/** Root keeps what Nix needs; an ordinary user has a user namespace, and a worker that at least dies with the daemon. */
function identity(): string[] {
  if (!hasProcessNamespaces() && process.getuid?.() !== 0) return ['--die-with-parent'];
  return ['--cap-drop', 'ALL', ...workerCapabilities.flatMap((name) => ['--cap-add', name])];
}
