/** Both isolations of a worker, with each runtime that is here, against the one suite. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createContainerWorker } from '../../src/builder/container-worker.ts';
import type { NixWorkerOptions } from '../../src/builder/nix-worker.ts';
import { createProcessWorker } from '../../src/builder/process-worker.ts';
import { describeWorker, type WorkerFixture } from '../../src/builder/worker-contract.ts';
import type { Worker } from '../../src/builder/worker.ts';
import { describe, it } from 'vitest';
import { makeNixFixture } from '../support/nixpkgs-fixture.ts';

async function open(make: (options: NixWorkerOptions) => Worker): Promise<WorkerFixture> {
  const fixture = await makeNixFixture();
  const { nix, root, source } = fixture;
  const tree = source.storePaths[0]!.replace('/nix/store', join(nix.store.root, 'nix/store'));
  const workerOf = (number: number) => make({ nix: nix.process, folder: join(root, `worker-${number}`), number });
  return {
    nix,
    root,
    worker: workerOf(1),
    other: workerOf(2),
    instantiate: async (expression) =>
      (
        await nix.process.require('nix-instantiate', ['--expr', `let pkgs = import ${tree} { }; in ${expression}`])
      ).trim(),
    close: () => fixture.close(),
  };
}

describeWorker('a process', () => open(createProcessWorker));

for (const name of ['crun', 'runc'] as const) {
  if (isThere(name)) {
    const runtime = () => Promise.resolve({ name, program: name });
    describeWorker(`a container of ${name}`, () => open((options) => createContainerWorker({ ...options, runtime })));
  } else {
    describe.skip(`a container of ${name}: it is not installed`, () => it('runs', () => undefined));
  }
}

function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
