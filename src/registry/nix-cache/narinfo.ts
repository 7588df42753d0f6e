/** A `.narinfo`: what a binary cache says of one store path (Nix, src/libstore/nar-info.cc). */
import { basename } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { toNixBase32 } from '../../nix/base32.ts';
import type { PathInfo } from '../../nix/path-info.ts';
import { isStorePath, type StorePath } from '../../nix/store.ts';
import { fingerprintOf, type SigningKey } from './signing-key.ts';

/** How NARs are packed on their way. */
export type NarCompression = 'zstd' | 'none';

/** @returns the name of a path's NAR below the cache's address */
export function narNameOf(info: PathInfo, compression: NarCompression): string {
  const hashPart = basename(info.path).slice(0, 32);
  return `nar/${hashPart}-${toNixBase32(info.narHash)}.nar${compression === 'zstd' ? '.zst' : ''}`;
}

/** @returns the text, with the signatures that the store has and the key's own */
export function formatNarinfo(info: PathInfo, compression: NarCompression, key: SigningKey | undefined): string {
  const own = key ? [key.sign(fingerprintOf(info))] : [];
  // Of a key there is one signature; the store may hold an older one of our own.
  const others = info.signatures.filter((signature) => !key || !signature.startsWith(`${key.name}:`));
  const lines: [string, string][] = [
    ['StorePath', info.path],
    ['URL', narNameOf(info, compression)],
    ['Compression', compression],
    ['NarHash', `sha256:${toNixBase32(info.narHash)}`],
    ['NarSize', String(info.narSize)],
    ['References', info.references.map((path) => basename(path)).join(' ')],
    ...(info.deriver ? ([['Deriver', basename(info.deriver)]] as [string, string][]) : []),
    ...[...others, ...own].map((signature): [string, string] => ['Sig', signature]),
    ...(info.contentAddress === null ? [] : ([['CA', info.contentAddress]] as [string, string][])),
  ];
  return lines.map(([name, value]) => `${name}: ${value}\n`).join('');
}

/** What is read of an uploaded one before Nix checks the rest. */
export interface UploadedNarinfo {
  readonly path: StorePath;
  /** Name of the NAR's file, without folders. */
  readonly narFile: string;
  readonly references: readonly StorePath[];
}

/** @throws BerthError REQUEST_INVALID when it is not of that form or not of that hash part */
export function parseNarinfo(text: string, hashPart: string): UploadedNarinfo {
  const fields = new Map(
    text.split('\n').flatMap((line) => {
      const [, name = '', value = ''] = /^([A-Za-z]+): ?(.*)$/.exec(line) ?? [];
      return name === '' ? [] : [[name, value]];
    }),
  );
  const refuse = (what: string) => new BerthError('REQUEST_INVALID', `The narinfo ${what}.`);
  const path = fields.get('StorePath') ?? '';
  if (!isStorePath(path)) throw refuse('names no store path');
  if (!basename(path).startsWith(`${hashPart}-`)) throw refuse(`is of ${path}, and was sent as ${hashPart}`);
  const narFile = /^nar\/([0-9A-Za-z][0-9A-Za-z._-]*)$/.exec(fields.get('URL') ?? '')?.[1];
  if (narFile === undefined) throw refuse('has no URL of the form nar/NAME');
  if (!/^sha256:[0-9a-z]{52,64}$/.test(fields.get('NarHash') ?? '')) throw refuse('has no SHA-256 as its NarHash');
  const references = (fields.get('References') ?? '')
    .split(' ')
    .filter((name) => name !== '')
    .map((name) => `/nix/store/${name}`);
  const wrong = references.find((reference) => !isStorePath(reference));
  if (wrong !== undefined) throw refuse(`refers to ${wrong}, which is no store path`);
  return { path, narFile, references: references as StorePath[] };
}
