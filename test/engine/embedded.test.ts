/** The embedded engine, with each OCI runtime that is installed and works here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded-engine.ts';
import { engineContract } from '../../src/engine/engine-contract.ts';
import { nativeDirectory } from '../support/native-directory.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-embedded-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

for (const runtime of ['crun', 'runc']) {
  const open = () =>
    createEmbeddedEngine({
      stateDirectory: join(directory, runtime),
      busybox: '/usr/bin/busybox',
      nativeDirectory,
      runtimes: [runtime],
      cgroupParent: `berth-test-${process.pid}`,
    });
  const { available, reason } = await open().available();
  if (available) {
    engineContract(`embedded engine with ${runtime}`, () =>
      Promise.resolve({ engine: open(), directory: join(directory, `${runtime}-berths`), reopen: open }),
    );
  } else {
    describe(`embedded engine with ${runtime}`, () => {
      it('meets the contract', ({ skip }) => skip(reason));
    });
  }
}
