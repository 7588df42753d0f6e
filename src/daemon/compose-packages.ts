/** Wires packages of versions that configs name: the sources' own, and those of registries. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { BerthError } from '../core/errors.ts';
import type { BuildStep } from '../environment/build-step.ts';
import { createEvaluateNames } from '../environment/evaluate-names.ts';
import type { GarbageGuard } from '../environment/garbage-guard.ts';
import { createOutsidePackages, type ResolveOutside } from '../environment/outside-packages.ts';
import { createCertificateAuthority, type CertificateAuthority } from '../libraries/proxy/certificate-authority.ts';
import { createDownloadCache } from '../libraries/proxy/download-cache.ts';
import { createUpstream } from '../libraries/proxy/upstream.ts';
import { crateRegistry } from '../libraries/registries/crate.ts';
import { goModuleRegistry } from '../libraries/registries/go-module.ts';
import { npmRegistry } from '../libraries/registries/npm.ts';
import { pypiRegistry } from '../libraries/registries/pypi.ts';
import { hostSystem } from '../nix/evaluate.ts';
import type { Nix } from '../nix/nix.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import { toolEnvironment, type Settings } from './settings.ts';

interface Parts {
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  /** The evaluator that need not run. */
  readonly evaluator: Pick<Nix, 'evaluate'>;
  readonly build: BuildStep;
  readonly guard: GarbageGuard;
  readonly busybox: () => string;
}

export function composeOutsidePackages(settings: Settings, nix: Nix, parts: Parts): ResolveOutside {
  const { sources, guard } = parts;
  let authority: Promise<CertificateAuthority> | undefined;
  return createOutsidePackages({
    registries: [npmRegistry, pypiRegistry, crateRegistry, goModuleRegistry],
    evaluateNames: createEvaluateNames({
      nix: parts.evaluator,
      sources,
      evaluator: { system: hostSystem(), allowUnfree: settings.allowUnfree },
      folder: join(settings.home, 'tmp/names'),
    }),
    build: parts.build,
    has: (from, name, context) => sources[from.kind].has(from, name, context),
    session: {
      sandbox: { store: nix.store, busybox: parts.busybox(), hostPath: toolEnvironment()['PATH'] ?? '' },
      authority: () => (authority ??= createCertificateAuthority()),
      downloads: createDownloadCache(join(settings.home, 'downloads'), createUpstream()),
      temporaryFolder: join(settings.home, 'tmp/registries'),
      async freeze(folder, name, signal) {
        const hold = guard.hold();
        try {
          await hold.begin(signal);
          const path = await nix.addToStore(folder, name, signal);
          await nix.roots.add(`package-${path.slice('/nix/store/'.length).split('-')[0] ?? ''}`, path);
          return path;
        } finally {
          hold.end();
        }
      },
      timeoutMs: settings['libraries.timeoutMs'],
    },
    nix,
    hashOf,
  });
}

/** Pinned by what is there when it is first asked for. */
async function hashOf(url: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  let response: Response;
  try {
    response = await fetch(url, signal ? { signal } : {});
    for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) hash.update(piece);
  } catch (error) {
    if (signal?.aborted) throw new BerthError('CANCELLED', 'The download was cancelled.', { cause: error });
    throw new BerthError('MIRROR_UNREACHABLE', `${new URL(url).host} cannot be reached.`, { cause: error });
  }
  if (!response.ok) throw new BerthError('DOWNLOAD_GONE', `${url} answered with status ${response.status}.`);
  return `sha256-${hash.digest('base64')}`;
}
