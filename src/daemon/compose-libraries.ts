/** Wires the libraries of programming languages. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { GarbageGuard } from '../environment/garbage-guard.ts';
import { libraryRootOf, type KeptLibraryRecords } from '../environment/library-records.ts';
import { cargo } from '../libraries/cargo/cargo.ts';
import { go } from '../libraries/go/go.ts';
import { algorithms } from '../libraries/integrity.ts';
import { createLibraries, type Libraries } from '../libraries/libraries.ts';
import { npm } from '../libraries/npm/npm.ts';
import { python } from '../libraries/python/python.ts';
import { createCertificateAuthority, type CertificateAuthority } from '../libraries/proxy/certificate-authority.ts';
import { readCredentials, type Credentials } from '../libraries/proxy/credentials.ts';
import { createDownloadCache } from '../libraries/proxy/download-cache.ts';
import { createUpstream } from '../libraries/proxy/upstream.ts';
import { hostSystem } from '../nix/evaluate.ts';
import type { Nix } from '../nix/nix.ts';
import { toolEnvironment, type Settings } from './settings.ts';

interface Parts {
  readonly records: KeptLibraryRecords;
  readonly guard: GarbageGuard;
  readonly busybox: string;
}

export function composeLibraries(settings: Settings, nix: Nix, { records, guard, busybox }: Parts): Libraries {
  let authority: Promise<CertificateAuthority> | undefined;
  return createLibraries({
    store: nix.store,
    managers: [npm, python, cargo, go],
    records,
    busybox,
    hostPath: toolEnvironment()['PATH'] ?? '',
    system: hostSystem(),
    authority: () => (authority ??= createCertificateAuthority()),
    downloads: createDownloadCache(downloadsOf(settings), createUpstream({ credentials: credentialsOf(settings) })),
    temporaryFolder: join(settings.home, 'tmp/libraries'),
    async freeze(key, folder, name, signal) {
      const hold = guard.hold();
      try {
        // Until it has its root.
        await hold.begin(signal);
        const path = await nix.addToStore(folder, name, signal, { linkEqualFiles: true });
        await nix.roots.add(libraryRootOf(key), path);
        return path;
      } finally {
        hold.end();
      }
    },
    timeoutMs: settings['libraries.timeoutMs'],
  });
}

function credentialsOf(settings: Settings): Credentials {
  return readCredentials({
    ...(settings.netrcFile === null ? {} : { netrc: settings.netrcFile }),
    npmrc: settings['libraries.npmrcFile'] ?? join(homedir(), '.npmrc'),
  });
}

function downloadsOf(settings: Settings): string {
  return join(settings.home, 'downloads');
}

/** @returns the folders whose files may go when they were not used for long */
export function downloadFolders(settings: Settings): string[] {
  return [...algorithms, 'metadata'].map((name) => join(downloadsOf(settings), name));
}
