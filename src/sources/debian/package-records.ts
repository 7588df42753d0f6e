/** Which Debian package a store path holds: asked of the locked index, whose entries gave the paths their names. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

export interface DebianPackageRecord {
  readonly name: string;
  /** As Debian writes it, with epoch and `~`. */
  readonly version: string;
  readonly architecture: string;
  /** The source package that it was built from. */
  readonly source: string;
  /** Of the .deb file. */
  readonly sha256: string;
  /** What it depends on: for each dependency the packages that meet it, best first. */
  readonly needs: readonly (readonly string[])[];
}

const namesSchema = z.looseObject({ names: z.record(z.string(), z.int()) });
const shardSchema = z.record(
  z.string(),
  z.looseObject({
    version: z.string(),
    file: z.string(),
    sha256: z.string(),
    needs: z.array(z.array(z.string())).optional(),
  }),
);

/**
 * @param index the folder of the index; see package-index.ts
 * @returns finds a package by the name of its store path, `NAME-VERSION`; reads a shard when it is first needed
 */
export function debianPackagesOf(index: string): (storeName: string) => DebianPackageRecord | undefined {
  const read = <T>(schema: z.ZodType<T>, file: string) =>
    schema.parse(JSON.parse(readFileSync(join(index, file), 'utf8')));
  const names = new Map(Object.entries(read(namesSchema, 'names.json').names));
  const shards = new Map<number, z.infer<typeof shardSchema>>();
  const entryOf = (name: string) => {
    const number = names.get(name);
    if (number === undefined) return undefined;
    const shard = shards.get(number) ?? read(shardSchema, `shards/${number}.json`);
    shards.set(number, shard);
    return Object.hasOwn(shard, name) ? shard[name] : undefined;
  };
  return (storeName) => {
    // Names and versions both hold dashes, so that each place is tried.
    for (let dash = storeName.indexOf('-'); dash > 0; dash = storeName.indexOf('-', dash + 1)) {
      const name = storeName.slice(0, dash);
      const entry = entryOf(name);
      if (!entry || inStore(entry.version) !== storeName.slice(dash + 1)) continue;
      const architecture = /_([a-z0-9]+)\.deb$/.exec(entry.file)?.[1] ?? 'all';
      const source = entry.file.split('/').at(-2) ?? name;
      return { name, version: entry.version, architecture, source, sha256: entry.sha256, needs: entry.needs ?? [] };
    }
    return undefined;
  };
}

/** As nix/debian/archive.nix writes a version into a name. */
function inStore(version: string): string {
  return version.replaceAll('~', '-').replaceAll(':', '_');
}
