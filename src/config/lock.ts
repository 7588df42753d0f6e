/**
 * berth.lock: which revision of each source a project uses. Written when a source is first asked for, and changed only by
 * `berth lock`; meant to be kept in version control beside the config.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import { isErrno, writeFileAtomically } from '../core/files.ts';
import type { Json, LockedSource } from '../sources/source.ts';

/** The form of the file; one that is higher was written by a later Berth. */
export const lockVersion = 1;

const json: z.ZodType<Json> = z.lazy(() =>
  z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(json), z.record(z.string(), json)]),
);

const lockedSourceSchema = z.strictObject({
  kind: z.enum(['debian', 'nixpkgs', 'path']),
  label: z.string(),
  pin: z.record(z.string(), json),
}) satisfies z.ZodType<LockedSource>;

/** A package of a version that the config names, as it was resolved when it was first asked for. */
export interface LockedPackage {
  /** Who was asked: `at` is the sources of packages; all others are outside of them. */
  readonly kind: PackageKind;
  readonly name: string;
  /** The version, prefix or range that the config has. */
  readonly wanted: string;
  readonly version: string;
  /** Where it comes from, for people: `debian trixie 2026-11-23`, `npm`. */
  readonly origin: string;
  /** Whether nobody of the source's maintainers has looked at it. */
  readonly outside: boolean;
  /** What is needed to get it again: a revision in `sources` and the name in it; or addresses and hashes. */
  readonly pin: { readonly [key: string]: Json };
}

export const packageKinds = ['at', 'npm', 'pypi', 'crate', 'goModule', 'url'] as const;
export type PackageKind = (typeof packageKinds)[number];

/** @returns the name of an entry of `packages`: `nodejs@18`, `npm:typescript@5.4.5` */
export function lockedPackageKey({ kind, name, wanted }: Pick<LockedPackage, 'kind' | 'name' | 'wanted'>): string {
  return `${kind === 'at' ? '' : `${kind}:`}${name}@${wanted}`;
}

const lockedPackageSchema = z.strictObject({
  kind: z.enum(packageKinds),
  name: z.string(),
  wanted: z.string(),
  version: z.string(),
  origin: z.string(),
  outside: z.boolean(),
  pin: z.record(z.string(), json),
}) satisfies z.ZodType<LockedPackage>;

const lockSchema = z.strictObject({
  version: z.literal(lockVersion),
  sources: z.record(z.string(), lockedSourceSchema),
  platforms: z.record(z.string(), z.record(z.string(), lockedSourceSchema)).optional(),
  packages: z.record(z.string(), lockedPackageSchema).optional(),
});

export interface Lock {
  /** By the names that configs use: `pkgs` for the default source, else `debian`, `nixpkgs`; or by that of a revision that only packages have. */
  readonly sources: Readonly<Record<string, LockedSource>>;
  /** Of sources that are locked for each system by itself, the locks for systems other than the one that locked first. */
  readonly platforms?: Readonly<Record<string, Readonly<Record<string, LockedSource>>>>;
  /** Packages of versions that the config names: see lockedPackageKey. */
  readonly packages?: Readonly<Record<string, LockedPackage>>;
}

/**
 * @param file absolute path of berth.lock
 * @returns the lock; one without sources where there is no file
 * @throws BerthError LOCK_INVALID
 */
export function readLock(file: string): Lock {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { sources: {} };
    throw error;
  }
  return parseLock(text, file);
}

/** @throws BerthError LOCK_INVALID, naming the place in the file's content */
export function parseLock(text: string, file: string): Lock {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new BerthError('LOCK_INVALID', `${file} is not JSON.`, { cause: error });
  }
  const version = z.looseObject({ version: z.number() }).safeParse(content);
  if (version.success && version.data.version > lockVersion) {
    throw new BerthError(
      'LOCK_INVALID',
      `${file} has version ${version.data.version}; this Berth knows version ${lockVersion}.`,
      { hint: 'Use the Berth that wrote it, or a later one.' },
    );
  }
  const parsed = lockSchema.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const place = issue?.path.join('.') ?? '';
    throw new BerthError('LOCK_INVALID', `${file} is damaged${place === '' ? '' : ` at ${place}`}.`, {
      cause: parsed.error,
    });
  }
  const { sources, platforms, packages } = parsed.data;
  return { sources, ...(platforms ? { platforms } : {}), ...(packages ? { packages } : {}) };
}

/** @returns the file's text: the same for the same lock, with sorted keys, so that version control shows real changes only */
export function formatLock(lock: Lock): string {
  const content = { version: lockVersion, ...lock } as unknown as Json;
  return `${JSON.stringify(sorted(content), null, 2)}\n`;
}

/** Replaces the file as a whole. A lock that would be the same is not written. */
export async function writeLock(file: string, lock: Lock): Promise<void> {
  const text = formatLock(lock);
  try {
    if (readFileSync(file, 'utf8') === text) return;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  await writeFileAtomically(file, text);
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(sorted);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value as { readonly [key: string]: Json });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]));
}
