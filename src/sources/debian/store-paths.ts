/** What the Debian source asks of Nix, by the process in src/nix. */
import { BerthError } from '../../core/errors.ts';
import type { ExecOptions } from '../../core/exec.ts';
import type { NixProcess } from '../../nix/nix-process.ts';
import { isStorePath, type StorePath } from '../../nix/store.ts';

/** What the source asks of Nix. */
export interface StorePaths {
  /** Copies a file or folder into the store under the name of its last component, by its content. */
  readonly add: (path: string, signal?: AbortSignal) => Promise<{ readonly path: StorePath; readonly narHash: string }>;
  readonly isValid: (path: StorePath, signal?: AbortSignal) => Promise<boolean>;
}

/** @returns the port's adapter over a Nix process */
export function nixStorePaths(nix: Pick<NixProcess, 'run'>): StorePaths {
  const runStore = async (args: readonly string[], options: ExecOptions) => {
    const result = await nix.run('nix-store', args, options);
    if (result.code === 0) return result.stdout.trim();
    if (/No space left on device|disk quota exceeded/i.test(result.stderr)) {
      throw new BerthError('DISK_FULL', 'There is no space left on the disk of the store.');
    }
    const last = result.stderr.trim().split('\n').at(-1) ?? '';
    throw new BerthError('INTERNAL', `\`nix-store ${args[0] ?? ''}\` failed: ${last}`, {
      details: { stderr: result.stderr.slice(-4000) },
    });
  };
  return {
    add: async (path, signal) => {
      const options = signal ? { signal } : {};
      const added = await runStore(['--add', path], options);
      if (!isStorePath(added)) throw new BerthError('INTERNAL', `\`nix-store --add\` printed ${added}.`);
      return { path: added, narHash: await runStore(['--query', '--hash', added], options) };
    },
    isValid: async (path, signal) => {
      const result = await nix.run('nix-store', ['--check-validity', path], signal ? { signal } : {});
      return result.code === 0;
    },
  };
}
