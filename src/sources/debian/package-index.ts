/**
 * The index of a suite as files: what nix/debian/ reads of it. It is cut into shards, so that an evaluation reads the few
 * packages that it needs and not 60,000. The same packages always give the same bytes.
 *
 *     names.json      { "shards": <how many>, "names": { "<name>": <its shard> } }: all names, so that `pkgs.<name>` exists
 *                     without reading its shard
 *     shards/<n>.json { "<name>": ShardEntry }
 *     search.tsv      name, version, one line of description; read by search, never by an evaluation
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedPackage } from './resolve.ts';
import { cutIntoShards } from './shards.ts';

/** A package as nix/debian/package.nix reads it. */
export interface ShardEntry {
  readonly version: string;
  /** Path below the archive's URL. */
  readonly file: string;
  readonly sha256: string;
  readonly size: number;
  readonly component: string;
  /** Which archive has the file; absent: `main`. */
  readonly archive?: string;
  /** Each group's candidates, best first. */
  readonly needs?: readonly (readonly string[])[];
  /** Dependencies that the suite can't meet. */
  readonly unmet?: readonly string[];
  readonly conflicts?: readonly string[];
}

/** Raised when the files change their form; nix/debian/archive.nix reads this one. */
export const indexFormat = 1;

/** Writes the index of resolved packages, sorted by name, into a new folder. */
export async function writePackageIndex(folder: string, packages: readonly ResolvedPackage[]): Promise<void> {
  await mkdir(join(folder, 'shards'), { recursive: true });
  const shardNumbers = new Map<string, number>();
  const shards = cutIntoShards(packages);
  for (const [number, shard] of shards.entries()) {
    const entries = shard.map((resolved) => [resolved.package.name, entryOf(resolved)] as const);
    for (const [name] of entries) shardNumbers.set(name, number);
    await writeFile(join(folder, 'shards', `${number}.json`), `${JSON.stringify(Object.fromEntries(entries))}\n`);
  }
  const names = packages.map(({ package: { name } }) => `${JSON.stringify(name)}:${shardNumbers.get(name) ?? 0}`);
  await writeFile(join(folder, 'names.json'), `{"shards":${shards.length},"names":{${names.join(',\n')}}}\n`);
  await writeFile(join(folder, 'search.tsv'), packages.map(searchLine).join(''));
}

function entryOf({ package: entry, groups, unmet, conflicts }: ResolvedPackage): ShardEntry {
  return {
    version: entry.version,
    file: entry.filename,
    sha256: entry.sha256,
    size: entry.size,
    component: entry.component,
    ...(entry.archive === 'main' ? {} : { archive: entry.archive }),
    ...(groups.length === 0 ? {} : { needs: groups }),
    ...(unmet.length === 0 ? {} : { unmet }),
    ...(conflicts.length === 0 ? {} : { conflicts }),
  };
}

function searchLine({ package: { name, version, description } }: ResolvedPackage): string {
  return `${name}\t${version}\t${description.replace(/\s+/g, ' ')}\n`;
}
