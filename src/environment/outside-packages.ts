/** Packages from outside of the sources: resolved by the registry's own client, which runs in an environment of its own. */
import type { LockedPackage } from '../config/lock.ts';
import { BerthError } from '../core/errors.ts';
import type { PackageRegistry } from '../libraries/registries/registry.ts';
import { inSession, type SessionOptions } from '../libraries/registries/session.ts';
import type { Nix } from '../nix/nix.ts';
import type { LockedSource, SourceContext } from '../sources/source.ts';
import type { BuildStep } from './build-step.ts';
import type { EvaluateNames } from './evaluate-names.ts';
import type { WantedPackage } from './package-locks.ts';

export interface OutsidePackagesOptions {
  readonly registries: readonly PackageRegistry[];
  /** The environments of the clients. */
  readonly evaluateNames: EvaluateNames;
  readonly build: Pick<BuildStep, 'run'>;
  readonly has: (from: LockedSource, name: string, context: SourceContext) => Promise<boolean>;
  readonly session: Omit<SessionOptions, 'sandbox' | 'emit' | 'signal'> & {
    readonly sandbox: Omit<SessionOptions['sandbox'], 'environment'>;
  };
  readonly nix: Pick<Nix, 'fetch' | 'narHashOf'>;
  /** @returns the SHA-256 of what is at an address, as `sha256-…` */
  readonly hashOf: (url: string, signal?: AbortSignal) => Promise<string>;
}

/** @returns what a package is now, to be locked */
export type ResolveOutside = (
  wanted: WantedPackage,
  from: LockedSource,
  context: SourceContext,
) => Promise<LockedPackage>;

export function createOutsidePackages(options: OutsidePackagesOptions): ResolveOutside {
  async function toolsOf(registry: PackageRegistry, from: LockedSource, context: SourceContext) {
    for (const names of registry.tools) {
      const all = await Promise.all(names.map((name) => options.has(from, name, context)));
      if (!all.every(Boolean)) continue;
      const evaluated = await options.evaluateNames(names, from, context);
      const { environment } = await options.build.run(evaluated, context);
      return environment;
    }
    const wanted = registry.tools.map((names) => names.join(' and ')).join(', or ');
    throw new BerthError('LIBRARY_PROGRAM_MISSING', `The source ${from.label} has no client for ${registry.kind}.`, {
      hint: `It needs ${wanted}.`,
    });
  }

  return async (wanted, from, context) => {
    const { kind, name, wanted: text } = wanted;
    if (kind === 'url') {
      if (!/^https?:\/\/[^\s"'\\]+$/.test(text)) {
        throw new BerthError('VERSION_INVALID', `\`${text}\` is no http address.`);
      }
      const hash = await options.hashOf(text, context.signal);
      return {
        ...wanted,
        version: hash.slice(7, 15).replace(/[+/]/g, '-'),
        origin: 'url',
        outside: true,
        pin: { url: text, hash },
      };
    }
    const registry = options.registries.find((candidate) => candidate.kind === kind);
    if (!registry) throw new BerthError('NOT_YET', `There is no registry ${kind}.`);
    if (!/^[A-Za-z0-9@][\w@./+-]*$/.test(name) || !/^[\w.+~:^<>=*|!, -]+$/.test(text) || text.startsWith('-')) {
      throw new BerthError('VERSION_INVALID', `\`${name}\` \`${text}\` is no package with a version.`);
    }
    const environment = await toolsOf(registry, from, context);
    const { session } = options;
    const resolved = await inSession(
      {
        ...session,
        sandbox: { ...session.sandbox, environment },
        emit: context.emit,
        ...(context.signal ? { signal: context.signal } : {}),
      },
      (opened) => registry.resolve(name, text, opened),
    );
    return { ...wanted, ...resolved, outside: true };
  };
}
