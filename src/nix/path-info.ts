/** What a store knows of one path: what a binary cache's `.narinfo` says. */
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { fromNixBase32 } from './base32.ts';
import type { NixProcess } from './nix-process.ts';
import { isStorePath, physicalStoreDirectory, storeDirectory, type StorePath } from './store.ts';

export interface PathInfo {
  readonly path: StorePath;
  /** SHA-256 of the path's NAR. */
  readonly narHash: Uint8Array;
  /** Bytes of the path's NAR. */
  readonly narSize: number;
  /** Sorted; may hold the path itself. */
  readonly references: readonly StorePath[];
  readonly deriver: StorePath | null;
  /** `NAME:BASE64` each. */
  readonly signatures: readonly string[];
  /** For a path that is named by its content: how, as Nix writes it. */
  readonly contentAddress: string | null;
}

/** @returns whether the text is the first part of a store path's name: 32 characters of Nix's base 32 */
export function isHashPart(text: string): boolean {
  return /^[0-9abcdfghijklmnpqrsvwxyz]{32}$/.test(text);
}

/** The row of ValidPaths whose path begins with a hash part, as Nix itself looks it up (nix/src/libstore/local-store.cc). */
export const pathInfoQuery = `
  select v.path as path, v.hash as hash, v.narSize as narSize, v.deriver as deriver, v.sigs as sigs, v.ca as ca,
    (select json_group_array(p.path) from Refs r join ValidPaths p on p.id = r.reference where r.referrer = v.id)
      as "references"
  from ValidPaths v where v.path >= ? order by v.path limit 1`;

const rowSchema = z.object({
  path: z.custom<StorePath>((value) => typeof value === 'string' && isStorePath(value)),
  hash: z.string(),
  narSize: z.number().nullable(),
  deriver: z.string().nullable(),
  sigs: z.string().nullable(),
  ca: z.string().nullable(),
  references: z.string(),
});

/** @returns what a row of the query says, when it is of that hash part */
export function pathInfoOfRow(row: unknown, hashPart: string): PathInfo | undefined {
  if (row === undefined) return undefined;
  const { path, hash, narSize, deriver, sigs, ca, references } = rowSchema.parse(row);
  if (!path.startsWith(`${storeDirectory}/${hashPart}-`)) return undefined;
  return {
    path,
    narHash: hashBytes(hash),
    narSize: narSize ?? 0,
    references: z.array(z.string()).parse(JSON.parse(references)).filter(isStorePath).sort(),
    deriver: deriver !== null && isStorePath(deriver) ? deriver : null,
    signatures: (sigs ?? '').split(' ').filter((signature) => signature !== ''),
    contentAddress: ca === '' ? null : ca,
  };
}

const toldSchema = z.looseObject({
  narHash: z.string(),
  narSize: z.number(),
  references: z.array(z.string()),
  deriver: z.string().nullish(),
  signatures: z.array(z.string()).optional(),
  ca: z.string().nullish(),
});

/** The same as `nix path-info` tells it, for a store whose database can't be read. */
export async function askPathInfo(nix: NixProcess, hashPart: string): Promise<PathInfo | undefined> {
  const names = await readdir(physicalStoreDirectory(nix.store));
  const name = names.find((candidate) => candidate.startsWith(`${hashPart}-`));
  if (name === undefined) return undefined;
  const path: StorePath = `/nix/store/${name}`;
  const result = await nix.run('nix', ['path-info', '--json', path]);
  if (result.code !== 0) return undefined;
  const told: unknown = JSON.parse(result.stdout);
  const info = toldSchema.safeParse(Array.isArray(told) ? told[0] : (told as Record<string, unknown>)[path]);
  if (!info.success) return undefined;
  return {
    path,
    narHash: hashBytes(info.data.narHash),
    narSize: info.data.narSize,
    references: info.data.references.filter(isStorePath).sort(),
    deriver: typeof info.data.deriver === 'string' && isStorePath(info.data.deriver) ? info.data.deriver : null,
    signatures: info.data.signatures ?? [],
    contentAddress: info.data.ca ?? null,
  };
}

/** Nix writes a hash in base 16, base 32 or as SRI, by the place and the version. */
function hashBytes(text: string): Uint8Array {
  const [, separator = '', digits = ''] = /^sha256([:-])(.+)$/.exec(text) ?? [];
  if (separator === '-') return Buffer.from(digits, 'base64');
  return digits.length === 64 ? Buffer.from(digits, 'hex') : fromNixBase32(digits);
}
