/**
 * The index of a suite as files: what nix/debian/ reads of it. It is cut by a hash of the package's name into 4096
 * shards, so that an evaluation reads the few packages that it needs and not 60,000. The same packages always give the
 * same bytes.
 *
 *     names.json        { "<name>": 0 }: all names, so that `pkgs.<name>` exists without reading its shard
 *     shards/<abc>.json { "<name>": ShardEntry }, <abc> = the first digits of the name's SHA-256
 *     search.tsv        name, version, one line of description; read by search, never by an evaluation
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedPackage } from './resolve.ts';

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

export const shardDigits = 3;

/** @returns the name of the shard that has the package */
export function shardOf(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, shardDigits);
}

/** Writes the index of resolved packages, sorted by name, into a new folder. */
export async function writePackageIndex(folder: string, packages: readonly ResolvedPackage[]): Promise<void> {
  const shards = new Map<string, Record<string, ShardEntry>>();
  for (const resolved of packages) {
    const key = shardOf(resolved.package.name);
    const shard = shards.get(key) ?? {};
    shard[resolved.package.name] = entryOf(resolved);
    shards.set(key, shard);
  }
  await mkdir(join(folder, 'shards'), { recursive: true });
  await writeFile(
    join(folder, 'names.json'),
    `{${packages.map((entry) => `${JSON.stringify(entry.package.name)}:0`).join(',\n')}}\n`,
  );
  await writeFile(join(folder, 'search.tsv'), packages.map(searchLine).join(''));
  // Every shard exists, so that the evaluation needs no check of existence.
  for (let number = 0; number < 16 ** shardDigits; number += 1) {
    const key = number.toString(16).padStart(shardDigits, '0');
    await writeFile(join(folder, 'shards', `${key}.json`), `${JSON.stringify(shards.get(key) ?? {})}\n`);
  }
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
