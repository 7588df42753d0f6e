/**
 * Reads single packages from an index in the store (package-index.ts), without holding 60,000 of them in memory: the list of
 * names stays one piece of text, which is sorted and so can be searched by halves.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../../../core/errors.ts';
import type { ShardEntry } from '../package-index.ts';

const entrySchema: z.ZodType<ShardEntry> = z.object({
  version: z.string(),
  file: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  size: z.number(),
  component: z.string(),
  archive: z.string().optional(),
  needs: z.array(z.array(z.string()).min(1)).optional(),
  unmet: z.array(z.string()).optional(),
  conflicts: z.array(z.string()).optional(),
}) as z.ZodType<ShardEntry>;

export interface IndexFiles {
  has(name: string): boolean;
  /** @throws BerthError INTERNAL when the index has no such name or is damaged */
  entry(name: string): ShardEntry;
}

/** How many shards are kept as they were read; an entry that was used is kept by its user. */
const shardsKept = 64;

/** @param folder where the index lies on the host */
export function openIndexFiles(folder: string): IndexFiles {
  const names = readFileSync(join(folder, 'names.json'));
  const start = names.indexOf('{', 1) + 1;
  const shards = new Map<number, Record<string, unknown>>();

  /** @returns the number of the name's shard; each name has a line of its own, `"name":12,` */
  function shardOf(name: string): number | undefined {
    let low = start;
    let high = names.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const before = names.lastIndexOf(10, middle - 1);
      const lineStart = before < low ? low : before + 1;
      const newline = names.indexOf(10, middle);
      const lineEnd = newline === -1 || newline > high ? high : newline;
      const line = /^"([^"]*)":(\d+)/.exec(names.toString('utf8', lineStart, lineEnd));
      if (!line?.[1]) return undefined;
      if (line[1] === name) return Number(line[2]);
      if (line[1] < name) low = lineEnd + 1;
      else high = lineStart;
    }
    return undefined;
  }

  function shard(number: number): Record<string, unknown> {
    const known = shards.get(number);
    if (known) return known;
    const read = z
      .record(z.string(), z.unknown())
      .parse(JSON.parse(readFileSync(join(folder, 'shards', `${number}.json`), 'utf8')));
    if (shards.size >= shardsKept) shards.delete(shards.keys().next().value ?? -1);
    shards.set(number, read);
    return read;
  }

  return {
    has: (name) => shardOf(name) !== undefined,
    entry(name) {
      const number = shardOf(name);
      const found = number === undefined ? undefined : entrySchema.safeParse(shard(number)[name]).data;
      if (!found) throw new BerthError('INTERNAL', `The index ${folder} has no usable entry for ${name}.`);
      return found;
    },
  };
}
