/** What holds for every manager of libraries, tried in real berths with the manager's own registry. */
import { describe, expect, it } from 'vitest';

/** A project of one manager, and how its lock may be wrong. */
export interface ContractSubject {
  /** As `libraries` names it. */
  readonly manager: string;
  readonly lockFile: string;
  /** An environment without the manager. */
  readonly packagesWithout: string;
  /** What the project's own tests are run by. */
  readonly test: readonly string[];
  /** Puts a library of the user's own in place, and uses it. */
  readonly onTop: string;
  /** What `onTop` prints, where it was run. */
  readonly printed: string;
  /** Prints something else than that where it was not. */
  readonly look: string;
  readonly wrongHash: (lock: string) => string;
  readonly withoutHash: (lock: string) => string;
}

export interface ContractHarness {
  /** Copies the example, with these files in place of its own. */
  project(files?: Readonly<Record<string, string>>): Promise<string>;
  read(project: string, file: string): string;
  config(packages: string | undefined, libraries: string): string;
  /** Starts a berth with no network. */
  up(project: string): Promise<{ readonly cache: string | undefined }>;
  run(project: string, argv: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** @returns how many files were downloaded so far */
  downloads(): number;
}

export function libraryContract(subject: ContractSubject, harness: ContractHarness): void {
  const { manager, lockFile } = subject;
  const asked = `{ ${manager} = ./${lockFile}; }`;

  describe(`libraries of ${manager}`, () => {
    it('are found with no install step and no network', async () => {
      const project = await harness.project();
      await harness.up(project);
      const { code, stdout, stderr } = await harness.run(project, subject.test);
      expect({ code, said: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, said: '' });
    });

    it('are there for another project with the same lock, found by itself, with nothing installed', async () => {
      const project = await harness.project({ 'config.nix': harness.config(undefined, '"auto"') });
      const before = harness.downloads();
      expect((await harness.up(project)).cache).toBe('hit');
      expect(harness.downloads()).toBe(before);
      expect(await harness.run(project, subject.test)).toMatchObject({ code: 0 });
    });

    it('take what a user puts on top, in that berth only', async () => {
      const [one, other] = [await harness.project(), await harness.project()];
      await harness.up(one);
      await harness.up(other);
      expect(await harness.run(one, ['sh', '-c', subject.onTop])).toMatchObject({ code: 0, stdout: subject.printed });
      expect((await harness.run(other, ['sh', '-c', subject.look])).stdout).not.toBe(subject.printed);
      // Starting it again keeps it.
      await harness.up(one);
      expect((await harness.run(one, ['sh', '-c', subject.look])).stdout).toBe(subject.printed);
    });

    it('are refused when a hash is not the one of the lock', async () => {
      const project = await harness.project();
      const wrong = subject.wrongHash(harness.read(project, lockFile));
      const changed = await harness.project({ [lockFile]: wrong });
      await expect(harness.up(changed)).rejects.toMatchObject({
        code: expect.stringMatching(/^(HASH_MISMATCH|LIBRARY_DOWNLOAD_FAILED)$/) as string,
      });
    });

    it('are refused when the lock has no hash', async () => {
      const project = await harness.project();
      const changed = await harness.project({ [lockFile]: subject.withoutHash(harness.read(project, lockFile)) });
      await expect(harness.up(changed)).rejects.toMatchObject({ code: 'LIBRARY_LOCK_UNHASHED' });
    });

    it('are refused when the lock is damaged or away', async () => {
      const damaged = await harness.project({ [lockFile]: '[[package\nx' });
      await expect(harness.up(damaged)).rejects.toMatchObject({ code: 'LIBRARY_LOCK_INVALID' });
      const away = await harness.project({ 'config.nix': harness.config(undefined, `{ ${manager} = ./away/lock; }`) });
      await expect(harness.up(away)).rejects.toMatchObject({ code: 'LIBRARY_LOCK_INVALID' });
    });

    it('need the manager in the environment, and say so', async () => {
      const project = await harness.project({ 'config.nix': harness.config(subject.packagesWithout, asked) });
      await expect(harness.up(project)).rejects.toMatchObject({ code: 'LIBRARY_PROGRAM_MISSING' });
    });
  });
}
