/**
 * Nix within a container: its own programs come from the store, and it speaks to a nix-daemon of the shared store, which
 * trusts nobody. The store stays read-only to the container otherwise.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Mount } from '../engine/engine.ts';
import type { Nix } from '../nix/nix.ts';

/** What `--nix` adds to a berth. */
export interface NixAccess {
  readonly mounts: readonly Mount[];
  readonly variables: Readonly<Record<string, string>>;
}

/** Where Nix's clients look for the daemon. */
const socketFolder = '/nix/var/nix/daemon-socket';

/**
 * @param socketDirectory a folder for the daemon's socket and nothing else, since containers see all of it
 */
export function createNixAccess(nix: Nix, socketDirectory: string) {
  mkdirSync(socketDirectory, { recursive: true, mode: 0o755 });
  const daemon = nix.daemon(socketDirectory);
  return {
    /** Starts the daemon, when this is the first berth that needs it. */
    open: async (): Promise<NixAccess> => {
      await daemon.ensure();
      return {
        mounts: [{ source: dirname(daemon.socket), target: socketFolder, readOnly: true }],
        variables: { NIX_REMOTE: 'daemon' },
      };
    },
    close: () => daemon.stop(),
  };
}
