/** All settings of Nix that Berth chooses, and the one place that writes them down for Nix (NIX_CONFIG). */
import type { Store } from './store.ts';

export interface NixSettings {
  /** Binary caches, best first: `https://…`, `file:///…`. None: nothing is downloaded but by fixed-output derivations. */
  readonly substituters: readonly string[];
  /** Keys whose signatures make a downloaded path acceptable: `name:base64`. */
  readonly trustedPublicKeys: readonly string[];
  /** Users and passwords of the binary caches that ask for them; the file's owner alone should be able to read it. */
  readonly netrcFile?: string;
  /** Builds at the same time. Default: as many as CPUs. */
  readonly maxJobs?: number;
  /** CPUs that one build may use; 0 means all. Default 0. */
  readonly cores?: number;
  /** Seconds that one build may take. Default: no limit. */
  readonly buildTimeoutSeconds?: number;
  /** Seconds that one build may stay silent. Default 1800. */
  readonly buildSilenceSeconds?: number;
  /** Whether builds run in Nix's sandbox. Default true; turning it off is for machines that have no namespaces. */
  readonly sandbox?: boolean;
  /** A static shell that builds have as /bin/sh, as on NixOS. Default: no /bin/sh. */
  readonly sandboxShell?: string;
  /** Whether evaluation may build what it then reads. Default false. */
  readonly allowImportFromDerivation?: boolean;
  /** Whether written paths are synced to the disk before they are registered. Default false: a crash costs a rebuild. */
  readonly syncPaths?: boolean;
}

/**
 * @param settings what the user may choose
 * @param kind of the process that reads it: `client` does the work itself or asks the host's daemon, `daemon` serves
 *   untrusted clients, `evaluator` runs a config in the sandbox
 * @param buildHook a program that declines every build: see declineBuilds
 * @param store the managed store is used by these settings alone; the host's own by its nix.conf as well
 * @returns the text for NIX_CONFIG
 */
export function nixConfig(
  settings: NixSettings,
  kind: 'client' | 'daemon' | 'evaluator',
  buildHook: string,
  store: Store['kind'],
): string {
  const lines = store === 'managed' ? managedLines(settings, buildHook) : systemLines(settings, kind);
  if (kind === 'evaluator') {
    lines.push(
      ['restrict-eval', 'true'],
      ['allowed-uris', ''],
      ['allow-import-from-derivation', String(settings.allowImportFromDerivation ?? false)],
    );
  }
  return lines.map(([name, value]) => `${name} = ${value}`.trimEnd()).join('\n');
}

type Lines = [name: string, value: string][];

/** How the host's store is used is for its nix.conf to say; only what was chosen for Berth is added to that. */
function systemLines(settings: NixSettings, kind: 'client' | 'daemon' | 'evaluator'): Lines {
  return [
    ['extra-experimental-features', 'nix-command flakes'],
    ...(settings.substituters.length > 0 ? ([['extra-substituters', settings.substituters.join(' ')]] as Lines) : []),
    ...(settings.trustedPublicKeys.length > 0
      ? ([['extra-trusted-public-keys', settings.trustedPublicKeys.join(' ')]] as Lines)
      : []),
    ...(settings.netrcFile === undefined ? [] : ([['netrc-file', settings.netrcFile]] as Lines)),
    ...(settings.maxJobs === undefined ? [] : ([['max-jobs', String(settings.maxJobs)]] as Lines)),
    ...(settings.cores === undefined ? [] : ([['cores', String(settings.cores)]] as Lines)),
    // Containers that speak to a daemon of ours are not the host's users.
    ...(kind === 'daemon' ? ([['trusted-users', '']] as Lines) : []),
    ['accept-flake-config', 'false'],
    ['flake-registry', ''],
  ];
}

function managedLines(settings: NixSettings, buildHook: string): Lines {
  return [
    ['experimental-features', 'nix-command flakes'],
    ['substituters', settings.substituters.join(' ')],
    ['trusted-public-keys', settings.trustedPublicKeys.join(' ')],
    ...(settings.netrcFile === undefined ? [] : ([['netrc-file', settings.netrcFile]] as Lines)),
    ['require-sigs', 'true'],
    // Nobody's settings are taken over, not even those of root within a container.
    ['trusted-users', ''],
    ['allowed-users', '*'],
    // Builds run as the one who runs Berth: in a chroot store there are no build users.
    ['build-users-group', ''],
    ['sandbox', settings.sandbox === false ? 'false' : 'true'],
    ['sandbox-fallback', 'false'],
    ['sandbox-paths', settings.sandboxShell ? `/bin/sh=${settings.sandboxShell}` : ''],
    // Nothing is built on other machines; Nix would start itself anew for each run just to find that out.
    ['builders', ''],
    ['build-hook', buildHook],
    ['max-jobs', String(settings.maxJobs ?? 'auto')],
    ['cores', String(settings.cores ?? 0)],
    ['timeout', String(settings.buildTimeoutSeconds ?? 0)],
    ['max-silent-time', String(settings.buildSilenceSeconds ?? 1800)],
    ['connect-timeout', '15'],
    ['stalled-download-timeout', '60'],
    ['download-attempts', '3'],
    // A missing path is asked for again soon: a cache may be filled meanwhile.
    ['narinfo-cache-negative-ttl', '60'],
    ['fallback', 'true'],
    ['fsync-metadata', String(settings.syncPaths ?? false)],
    ['auto-optimise-store', 'false'],
    ['keep-derivations', 'false'],
    ['keep-outputs', 'false'],
    ['log-lines', '25'],
    ['accept-flake-config', 'false'],
    ['flake-registry', ''],
  ];
}

/**
 * The build hook of a Nix that has no other machines, a shell script: Nix asks it for each build, it answers once for all of
 * them. The protocol is that of nix/src/build-remote.
 */
export const declineBuilds = `#!/bin/sh
echo '# decline-permanently' >&2
exec cat >/dev/null
`;
