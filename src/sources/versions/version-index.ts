/**
 * Which revisions of nixpkgs had which versions: a data file, which can be replaced without a new Berth.
 *
 *     { "format": 1,
 *       "revisions": [ { "rev": "<40 hex digits>", "narHash": "sha256-…", "date": "2025-05-01", "url": "https://…" } ],
 *       "packages": { "nodejs": { "18.20.4": { "revisions": [[3, 17], [19, 20]], "storePaths": { "x86_64-linux": "/nix/store/…" } } } } }
 *
 * Revisions are in the order of time and are numbered from 0; intervals are of these numbers, both ends included. `url`, a
 * tarball's address or a folder, is that of nixpkgs where it is absent; `storePaths` are the builds of the binary cache.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { readTextIfThere, writeFileAtomically } from '../../core/files.ts';

const indexSchema = z.object({
  format: z.literal(1),
  revisions: z.array(
    z.object({
      rev: z.string().regex(/^[0-9a-f]{40}$/),
      narHash: z.string().regex(/^sha256-[A-Za-z0-9+/]{43}=$/),
      date: z.string().optional(),
      url: z.string().optional(),
    }),
  ),
  packages: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        revisions: z.array(z.tuple([z.int().min(0), z.int().min(0)])).min(1),
        storePaths: z.record(z.string(), z.string()).optional(),
      }),
    ),
  ),
});

export type VersionIndex = z.infer<typeof indexSchema>;

export interface VersionIndexFile {
  /** @returns the index; read again when the file has changed */
  load(signal?: AbortSignal): Promise<VersionIndex>;
}

/** How long a downloaded index is used before it is asked for again. */
const freshMs = 24 * 3600 * 1000;

/**
 * @param place an absolute path, or an http address
 * @param folder where a downloaded one is kept
 * @throws BerthError SETTING_INVALID when it is none; MIRROR_UNREACHABLE when it can't be had and none is kept
 */
export function versionIndexFile(place: string, folder: string): VersionIndexFile {
  let known: { readonly key: string; readonly index: VersionIndex } | undefined;
  const kept = join(folder, `${digestOf(place).slice(7, 23)}.json`);

  async function textOf(signal?: AbortSignal): Promise<string> {
    if (!/^https?:\/\//.test(place)) {
      const text = await readTextIfThere(place);
      if (text === undefined) throw new BerthError('SETTING_INVALID', `There is no version index ${place}.`);
      return text;
    }
    const age = await stat(kept)
      .then(({ mtimeMs }) => Date.now() - mtimeMs)
      .catch(() => Infinity);
    if (age < freshMs) return readFile(kept, 'utf8');
    try {
      const response = await fetch(place, signal ? { signal } : {});
      if (!response.ok) {
        throw new BerthError('MIRROR_UNREACHABLE', `The version index ${place} answered ${response.status}.`);
      }
      const text = await response.text();
      parse(text, place);
      await writeFileAtomically(kept, text);
      return text;
    } catch (error) {
      if (signal?.aborted) throw new BerthError('CANCELLED', 'The download was cancelled.', { cause: error });
      // An older one is better than none: what it says is checked by hashes.
      if (age !== Infinity) return readFile(kept, 'utf8');
      if (error instanceof BerthError) throw error;
      throw new BerthError('MIRROR_UNREACHABLE', `The version index ${place} cannot be reached.`, { cause: error });
    }
  }

  return {
    async load(signal) {
      const text = await textOf(signal);
      const key = digestOf(text);
      if (known?.key !== key) known = { key, index: parse(text, place) };
      return known.index;
    },
  };
}

function parse(text: string, place: string): VersionIndex {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new BerthError('SETTING_INVALID', `The version index ${place} is not JSON.`, { cause: error });
  }
  const parsed = indexSchema.safeParse(content);
  const index = parsed.data;
  const isWhole =
    index &&
    Object.values(index.packages).every((versions) =>
      Object.values(versions).every(({ revisions }) =>
        revisions.every(([first, last]) => first <= last && last < index.revisions.length),
      ),
    );
  if (isWhole) return index;
  const at = parsed.error?.issues[0]?.path.join('.') ?? 'packages';
  throw new BerthError('SETTING_INVALID', `The version index ${place} is not of its form at ${at}.`);
}
