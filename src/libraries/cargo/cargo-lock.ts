/** Reads Cargo.lock, versions 2 to 4 (The Cargo Book; cargo's own writer gives one form, which is a part of TOML). */
import { BerthError } from '../../core/errors.ts';
import { hexIntegrity, type Integrity } from '../integrity.ts';

export interface Crate {
  readonly name: string;
  readonly version: string;
  /** `registry+https://…` or `sparse+https://…` */
  readonly source: string;
  readonly integrity: Integrity;
}

/**
 * @returns the crates of registries, without those of the project itself
 * @throws BerthError LIBRARY_LOCK_INVALID, LIBRARY_LOCK_UNHASHED, LIBRARY_UNSUPPORTED
 */
export function parseCargoLock(text: string, file: string): Crate[] {
  const version = /^version = (\d+)$/m.exec(text)?.[1];
  if (Number(version ?? 2) > 4) {
    throw new BerthError('LIBRARY_LOCK_INVALID', `${file} is a lock of version ${version}; Berth reads 2 to 4.`);
  }
  const crates = text
    .replaceAll('\r\n', '\n')
    .split(/^\[\[package\]\]$/m)
    .slice(1)
    .flatMap((block): Crate[] => {
      const value = (key: string) => new RegExp(`^${key} = "([^"]*)"$`, 'm').exec(block)?.[1];
      const [name, crateVersion, source, checksum] = [
        value('name'),
        value('version'),
        value('source'),
        value('checksum'),
      ];
      if (
        name === undefined ||
        crateVersion === undefined ||
        !/^[\w-]+$/.test(name) ||
        !/^[\w.+-]+$/.test(crateVersion)
      ) {
        throw new BerthError('LIBRARY_LOCK_INVALID', `${file} has a package without a proper name and version.`);
      }
      if (source === undefined) return [];
      const label = `${name} ${crateVersion}`;
      if (!/^(registry|sparse)\+https?:/.test(source)) {
        throw new BerthError('LIBRARY_UNSUPPORTED', `${file}: ${label} comes from \`${source}\`, which has no hash.`, {
          hint: 'Take the crate from a registry, or keep it in the project and name its path in Cargo.toml.',
        });
      }
      const integrity = checksum === undefined ? undefined : hexIntegrity('sha256', checksum);
      if (!integrity) {
        throw new BerthError('LIBRARY_LOCK_UNHASHED', `${file} has no hash for ${label}.`, {
          hint: 'Remove the file and run `cargo generate-lockfile` with cargo 1.41 or later.',
        });
      }
      return [{ name, version: crateVersion, source, integrity }];
    });
  if (crates.length === 0 && !text.includes('[[package]]')) {
    throw new BerthError('LIBRARY_LOCK_INVALID', `${file} names no package.`);
  }
  return crates;
}
