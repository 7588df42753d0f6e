/** Wires the builder: its workers, of the isolation that was chosen, over the one store. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Builder } from '../builder/builder.ts';
import { createContainerWorker, type WorkerRuntime } from '../builder/container-worker.ts';
import { createBuilder, type BuilderOptions } from '../builder/create-builder.ts';
import { createProcessWorker } from '../builder/process-worker.ts';
import type { Worker } from '../builder/worker.ts';
import { BerthError } from '../core/errors.ts';
import type { EventBus } from '../core/events.ts';
import { exec } from '../core/exec.ts';
import { findRuntime } from '../engine/embedded/find-runtime.ts';
import type { Nix } from '../nix/nix.ts';
import { findOnPath, type Settings } from './settings.ts';

export function composeBuilder(
  settings: Settings,
  nix: Nix,
  database: BuilderOptions['database'],
  bus: EventBus,
): Builder {
  const folder = join(settings.home, 'builder');
  clear(folder);
  return createBuilder({
    database,
    workers: composeWorkers(settings, nix, folder),
    directory: join(settings.home, 'log/builds'),
    emitter: (subject) => bus.emitter(subject),
    timeoutMs: settings['build.timeoutMs'],
  });
}

function composeWorkers(settings: Settings, nix: Nix, folder: string): Worker[] {
  const count = settings['builder.workers'] ?? availableParallelism();
  let found: Promise<WorkerRuntime> | undefined;
  const runtime = () =>
    (found ??= workerRuntime(settings, folder).catch((error: unknown) => {
      found = undefined;
      throw error;
    }));
  return Array.from({ length: count }, (_, index) => {
    const options = { nix: nix.process, folder: join(folder, `worker-${index + 1}`), number: index + 1 };
    return settings['builder.isolation'] === 'container'
      ? createContainerWorker({ ...options, runtime })
      : createProcessWorker(options);
  });
}

/** The runtime that was set, else the one that is there. Whether it works shows with the first build. */
async function workerRuntime(settings: Settings, folder: string): Promise<WorkerRuntime> {
  const { runtime } = await findRuntime({
    candidates: settings['oci.runtime'] === null ? ['crun', 'runc'] : [settings['oci.runtime']],
    memory: join(folder, 'runtime.json'),
    async tryOut({ name, program }) {
      const { code } = await exec(findOnPath(program) ?? program, ['--version'], { timeoutMs: 10_000 });
      if (code !== 0) throw new BerthError('LAUNCH_FAILED', `${name} does not run.`);
    },
  });
  return runtime;
}

/** Removes what workers of a daemon that was killed left: builds' folders may be large. */
function clear(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(folder)) {
    if (name.startsWith('worker-')) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
