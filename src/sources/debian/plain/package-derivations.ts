/** The derivations of single packages, as nix/debian/archive.nix makes them: one fetches a .deb, one unpacks it. */
import { nameDerivation, nameFixedDerivation, type NamedDerivation } from '../../../nix/derivation/derivation.ts';
import type { StorePath } from '../../../nix/store.ts';
import type { IndexFiles } from './index-files.ts';
import type { DebianTemplate } from './template.ts';

/** A package of the suite with what is needed to use it in other derivations. */
export interface PackageDerivation {
  readonly name: string;
  readonly version: string;
  readonly component: string;
  readonly needs: readonly (readonly string[])[];
  readonly broken: boolean;
  readonly conflicts: readonly string[];
  /** Of the derivation that unpacks it. */
  readonly drvPath: StorePath;
  readonly outPath: StorePath;
  readonly modulo: string;
  readonly fetchDrvPath: StorePath;
}

export interface PackageDerivations {
  has(name: string): boolean;
  /** @throws BerthError INTERNAL for a name that the index has not */
  get(name: string): PackageDerivation;
  /** @returns the two derivations as they are written, the one that fetches first */
  write(name: string): readonly [NamedDerivation, NamedDerivation];
}

/** What a name becomes within the name of a store path. */
export function storeNameOf(text: string): string {
  return text.replaceAll('~', '-').replaceAll(':', '_');
}

/**
 * @param mirrors URLs of the archives, the one that is used first
 * @returns the packages, each worked out once
 */
export function createPackageDerivations(
  index: IndexFiles,
  template: DebianTemplate,
  mirrors: Readonly<Record<string, readonly string[]>>,
): PackageDerivations {
  const known = new Map<string, PackageDerivation>();

  function write(name: string): readonly [NamedDerivation, NamedDerivation] {
    const entry = index.entry(name);
    const storeName = `${storeNameOf(name)}-${storeNameOf(entry.version)}`;
    const fetch = nameFixedDerivation({
      ...template.fetch,
      name: `${storeName}.deb`,
      hash: entry.sha256,
      env: {
        ...template.fetch.env,
        name: `${storeName}.deb`,
        url: `${mirrors[entry.archive ?? 'main']?.[0] ?? ''}/${entry.file}`,
        outputHash: entry.sha256,
      },
    });
    const unpack = nameDerivation({
      ...template.unpack,
      name: storeName,
      env: { ...template.unpack.env, name: storeName, package: name, deb: fetch.outPath },
      inputs: [fetch],
    });
    return [fetch, unpack];
  }

  return {
    has: (name) => known.has(name) || index.has(name),
    write,
    get(name) {
      const found = known.get(name);
      if (found) return found;
      const entry = index.entry(name);
      const [fetch, { drvPath, outPath, modulo }] = write(name);
      const made: PackageDerivation = {
        name,
        version: entry.version,
        component: entry.component,
        needs: entry.needs ?? [],
        broken: entry.unmet !== undefined,
        conflicts: entry.conflicts ?? [],
        drvPath,
        outPath,
        modulo,
        fetchDrvPath: fetch.drvPath,
      };
      known.set(name, made);
      return made;
    },
  };
}
