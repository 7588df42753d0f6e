/**
 * Nix within a container: its own programs and Berth's Nix code come from the store (nix/container), and it speaks to a
 * nix-daemon of the shared store, which trusts nobody. The store stays read-only to the container otherwise.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BerthSpec, Mount } from '../engine/engine.ts';
import type { Nix } from '../nix/nix.ts';

/** What `--nix` adds to a berth, beside what its environment has. */
export interface NixAccess {
  readonly mounts: readonly Mount[];
  readonly variables: Readonly<Record<string, string>>;
}

/** Where Nix's clients look for the daemon. */
const socketFolder = '/nix/var/nix/daemon-socket';

/** @returns whether the berth speaks to the daemon, which then must run as long as the berth does */
export function usesNix(spec: Pick<BerthSpec, 'mounts'>): boolean {
  return spec.mounts.some((mount) => mount.target === socketFolder);
}

/**
 * @param socketDirectory a folder for the daemon's socket and nothing else, since containers see all of it
 */
export function createNixAccess(nix: Nix, socketDirectory: string) {
  mkdirSync(socketDirectory, { recursive: true, mode: 0o755 });
  const daemon = nix.daemon(socketDirectory);
  return {
    /** Starts the daemon, unless it runs. */
    open: async (): Promise<NixAccess> => {
      await daemon.ensure();
      return {
        mounts: [{ source: dirname(daemon.socket), target: socketFolder, readOnly: true }],
        // No setting that the daemon would refuse to take from a client is here: it would say so each time.
        variables: { NIX_REMOTE: 'daemon', NIX_CONFIG: 'experimental-features = nix-command flakes' },
      };
    },
    close: () => daemon.stop(),
  };
}
