/** What every worker does: the suite that each isolation's test calls, with real Nix over a store of its own. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BerthEvent } from '../core/events.ts';
import type { Nix } from '../nix/nix.ts';
import type { Worker } from './worker.ts';

export interface WorkerFixture {
  readonly nix: Nix;
  /** A folder of the fixture's. */
  readonly root: string;
  readonly worker: Worker;
  /** A second one over the same store. */
  readonly other: Worker;
  /** @returns the derivation of an expression over `pkgs` */
  instantiate(expression: string): Promise<string>;
  close(): Promise<void>;
}

export function describeWorker(name: string, open: () => Promise<WorkerFixture>): void {
  describe(`a worker: ${name}`, () => {
    let fixture: WorkerFixture;
    beforeAll(async () => {
      fixture = await open();
    });
    afterAll(() => fixture.close());

    const shell = (text: string, label: string) =>
      fixture.instantiate(
        `pkgs.runCommand ${JSON.stringify(label)} { } ${JSON.stringify(text).replaceAll('$', '\\$')}`,
      );

    it('builds, tells what it does, keeps the log and roots what comes out', async () => {
      const events: BerthEvent[] = [];
      const logFile = join(fixture.root, 'built.log');
      const rootLink = join(fixture.nix.roots.folder, 'built');
      mkdirSync(fixture.nix.roots.folder, { recursive: true });
      const drv = await shell('echo hello from $(hostname 2>/dev/null); echo done > $out', 'built');
      const { paths, built } = await fixture.worker.run(
        { paths: [drv], rootLink },
        { emit: (event) => events.push(event), logFile },
      );
      expect(built).toBeGreaterThan(0);
      expect(readFileSync(join(fixture.nix.store.root, paths[0] ?? ''), 'utf8')).toBe('done\n');
      expect(events).toContainEqual({ type: 'derivation.started', derivation: drv });
      expect(events).toContainEqual(expect.objectContaining({ type: 'derivation.finished', derivation: drv }));
      expect(readFileSync(logFile, 'utf8')).toContain('built> hello');
      expect((await fixture.nix.roots.list()).map(({ path }) => path)).toContain(paths[0]);
      // The second time there is nothing to do.
      expect(await fixture.worker.run({ paths: [drv] }, { emit: () => undefined })).toEqual({ paths, built: 0 });
    });

    it('tells a failed build as Nix does', async () => {
      const drv = await shell('echo the reason; exit 3', 'fails');
      await expect(fixture.worker.run({ paths: [drv] }, { emit: () => undefined })).rejects.toMatchObject({
        code: 'BUILD_FAILED',
        details: { derivation: drv, log: ['the reason'] },
      });
    });

    it('ends with all its processes when it is cancelled, and the next task finds nothing locked', async () => {
      const mark = `7${Date.now()}`;
      const drv = await shell(`echo begun; sleep ${mark}`, 'cancelled');
      const controller = new AbortController();
      const work = fixture.worker.run(
        { paths: [drv] },
        { emit: (event) => event.type === 'log' && controller.abort(), signal: controller.signal },
      );
      await expect(work).rejects.toMatchObject({ code: 'CANCELLED' });
      await expect.poll(() => processesOf(mark)).toEqual([]);
      await fixture.worker.run({ paths: [await shell('echo > $out', 'after-cancel')] }, { emit: () => undefined });
    });

    it('that is killed leaves no process and no lock: another builds the same at once', async () => {
      const mark = `8${Date.now()}`;
      const drv = await shell(`echo begun; sleep ${mark}; echo > $out`, 'killed');
      const work = fixture.worker.run(
        { paths: [drv] },
        {
          emit(event) {
            if (event.type !== 'log') return;
            for (const pid of processesOf(drv)) if (nameOf(pid) === 'nix-store') process.kill(pid, 'SIGKILL');
          },
        },
      );
      await expect(work).rejects.toMatchObject({ code: 'WORKER_DIED', fault: 'system', retryable: true });
      await expect.poll(() => processesOf(mark)).toEqual([]);
      const controller = new AbortController();
      const begun: string[] = [];
      const again = fixture.other.run(
        { paths: [drv] },
        {
          emit(event) {
            if (event.type !== 'log') return;
            begun.push(event.line);
            controller.abort();
          },
          signal: controller.signal,
        },
      );
      await expect(again).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(begun).toContain('begun');
    });

    it('builds beside another over the same store, under process ids that no other has', async () => {
      const both = await Promise.all([
        fixture.worker.run({ paths: [await shell('sleep 0.3; echo 1 > $out', 'one')] }, { emit: () => undefined }),
        fixture.other.run({ paths: [await shell('sleep 0.3; echo 2 > $out', 'two')] }, { emit: () => undefined }),
      ]);
      expect(await fixture.nix.validPaths(both.flatMap(({ paths }) => paths))).toHaveLength(2);
    });
  });
}

/** @returns processes of this machine whose command line holds the text */
export function processesOf(text: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => pid !== process.pid && read(pid, 'cmdline').includes(text));
}

/** @returns the name of a process's program, as the kernel has it */
export function nameOf(pid: number): string {
  return read(pid, 'comm').trim();
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
