/** The embedded engine, with each OCI runtime that is installed and works here. */
import { existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded-engine.ts';
import { engineContract } from '../../src/engine/engine-contract.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-embedded-'));
const cgroupParent = `berth-test-${process.pid}`;
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
  // In every hierarchy, and empty: a berth that is removed leaves no group behind.
  for (const controller of ['', ...readdirSync('/sys/fs/cgroup')]) {
    const group = join('/sys/fs/cgroup', controller, cgroupParent);
    if (existsSync(group)) rmdirSync(group);
  }
});

for (const runtime of ['crun', 'runc']) {
  const open = () =>
    createEmbeddedEngine({
      stateDirectory: join(directory, runtime),
      busybox: '/usr/bin/busybox',
      nativeDirectory,
      runtimes: [runtime],
      cgroupParent,
    });
  const probe = open();
  const { available, reason } = await probe.available();
  await probe.close?.();
  if (available) {
    engineContract(`embedded engine with ${runtime}`, () =>
      Promise.resolve({
        engine: open(),
        directory: join(directory, `${runtime}-berths`),
        reopen: open,
      }),
    );
  } else {
    describe(`embedded engine with ${runtime}`, () => {
      it('meets the contract', ({ skip }) => skip(reason));
    });
  }
}
