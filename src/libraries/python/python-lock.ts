/** What the environment's Python read out of a lock, and which file of each package is taken. */
import { posix } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { formatIntegrity, hexIntegrity, type Algorithm, type Integrity } from '../integrity.ts';
import type { LockedArtifact, LocateTools } from '../library.ts';

const fileSchema = z.object({ hash: z.string(), url: z.string().nullable(), file: z.string().nullable() });
const packageSchema = z.object({ name: z.string(), version: z.string().nullable(), files: z.array(fileSchema) });
const readSchema = z.object({
  packages: z.array(packageSchema),
  /** Addresses of simple indexes (PEP 503). */
  indexes: z.array(z.string()),
  /** Whether the lock names the dependencies of all it names, so that pip may check that. */
  complete: z.boolean(),
  python: z.string(),
  /** The preferred first: `cp311-cp311-manylinux_2_36_x86_64`. */
  tags: z.array(z.string()),
});
const problemSchema = z.object({
  problem: z.object({
    code: z.enum([
      'LIBRARY_LOCK_INVALID',
      'LIBRARY_LOCK_UNHASHED',
      'LIBRARY_UNSUPPORTED',
      'LIBRARY_PLATFORM',
      'LIBRARY_PROGRAM_MISSING',
    ]),
    message: z.string(),
    hint: z.string().nullable(),
  }),
});

export type PythonLock = z.infer<typeof readSchema>;
type PythonPackage = z.infer<typeof packageSchema>;

/** A package and the file of it that is installed. */
export interface ChosenFile {
  readonly name: string;
  readonly version: string;
  readonly artifact: LockedArtifact & { readonly saveAs: string };
  readonly isWheel: boolean;
}

/**
 * @param output of the lock reader
 * @throws BerthError what the lock reader refuses a lock for
 */
export function parsePythonLock(output: string): PythonLock {
  const value: unknown = JSON.parse(output);
  const refused = problemSchema.safeParse(value);
  if (refused.success) {
    const { code, message, hint } = refused.data.problem;
    throw new BerthError(code, message, hint === null ? {} : { hint });
  }
  return readSchema.parse(value);
}

/** @throws BerthError LIBRARY_PLATFORM, LIBRARY_LOCK_UNHASHED, LIBRARY_DOWNLOAD_FAILED, and what `page` throws */
export async function chooseFiles(lock: PythonLock, tools: LocateTools): Promise<ChosenFile[]> {
  const rank = new Map(lock.tags.map((tag, at) => [tag, at]));
  const choose = async (wanted: PythonPackage): Promise<ChosenFile> => {
    const label = [wanted.name, wanted.version].filter(Boolean).join(' ');
    const candidates = await candidatesOf(wanted, label, lock, tools);
    const best = candidates
      .map((candidate) => ({ ...candidate, rank: rankOf(candidate.file, rank) }))
      .filter((candidate) => candidate.rank !== undefined)
      .sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0))[0];
    if (!best) {
      throw new BerthError(
        'LIBRARY_PLATFORM',
        `The lock has no file of ${label} for Python ${lock.python} on this platform.`,
      );
    }
    const { url, file, integrity } = best;
    const version = wanted.version ?? versionOf(file);
    const artifact = { url, label, integrity, saveAs: file };
    return { name: wanted.name, version, artifact, isWheel: file.endsWith('.whl') };
  };
  return Promise.all(lock.packages.map(choose));
}

interface Candidate {
  readonly url: string;
  readonly file: string;
  readonly integrity: Integrity;
}

/** The files that the lock has a hash for, with where they are: from the lock, or from the index's page. */
async function candidatesOf(
  wanted: PythonPackage,
  label: string,
  lock: PythonLock,
  tools: LocateTools,
): Promise<Candidate[]> {
  const hashes = new Map<string, Integrity>();
  for (const { hash } of wanted.files) {
    const [algorithm = '', hex = ''] = hash.split(':');
    const integrity = ['sha256', 'sha384', 'sha512'].includes(algorithm)
      ? hexIntegrity(algorithm as Algorithm, hex)
      : undefined;
    if (integrity) hashes.set(`${algorithm}:${hex.toLowerCase()}`, integrity);
  }
  if (hashes.size === 0) throw new BerthError('LIBRARY_LOCK_UNHASHED', `The lock has no strong hash for ${label}.`);
  const direct = wanted.files.flatMap(({ hash, url, file }) => {
    const integrity = hashes.get(hash.toLowerCase());
    return url === null || !integrity ? [] : [{ url, integrity, file: safeName(file ?? fileNameOf(url)) }];
  });
  if (direct.length > 0) return direct;
  const byFile = new Map(wanted.files.flatMap(({ file, hash }) => (file === null ? [] : [[file, hash] as const])));
  let missing: unknown;
  for (const index of lock.indexes) {
    const url = `${index.replace(/\/$/, '')}/${wanted.name}/`;
    try {
      const found = linksOf(Buffer.from(await tools.page(url)).toString('utf8'), url).flatMap((link) => {
        const integrity = hashes.get(link.hash ?? byFile.get(link.file) ?? '');
        return integrity ? [{ url: link.url, file: safeName(link.file), integrity }] : [];
      });
      if (found.length > 0) return found;
    } catch (error) {
      if (!(error instanceof BerthError && error.code === 'LIBRARY_DOWNLOAD_FAILED')) throw error;
      missing = error;
    }
  }
  throw new BerthError('LIBRARY_DOWNLOAD_FAILED', `No index has a file of ${label} with a hash that the lock names.`, {
    cause: missing,
    details: { hashes: [...hashes.values()].map(formatIntegrity).join(' ') },
  });
}

/** @returns the links of a simple index's page (PEP 503) */
export function linksOf(html: string, base: string): { url: string; file: string; hash: string | undefined }[] {
  return [...html.matchAll(/<a\s[^>]*?href\s*=\s*["']([^"']+)["']/gi)].map(([, href = '']) => {
    const url = new URL(href.replaceAll('&amp;', '&'), base);
    const [, algorithm, hex] = /^#(sha\d+)=([0-9a-fA-F]+)/.exec(url.hash) ?? [];
    url.hash = '';
    const hash = algorithm === undefined ? undefined : `${algorithm}:${(hex ?? '').toLowerCase()}`;
    return { url: url.href, file: fileNameOf(url.href), hash };
  });
}

function fileNameOf(url: string): string {
  return decodeURIComponent(posix.basename(new URL(url).pathname));
}

function safeName(file: string): string {
  if (/^[\w.+!-]+$/.test(file) && !file.startsWith('.')) return file;
  throw new BerthError('LIBRARY_LOCK_INVALID', `\`${file}\` is no name of a package's file.`);
}

/** Lower is better; a source comes after every wheel that fits. Undefined: it does not fit. */
export function rankOf(file: string, rank: ReadonlyMap<string, number>): number | undefined {
  if (/\.(tar\.gz|zip|tgz|tar\.bz2)$/.test(file)) return Number.MAX_SAFE_INTEGER;
  if (!file.endsWith('.whl')) return undefined;
  const [pythons = '', abis = '', platforms = ''] = file.slice(0, -'.whl'.length).split('-').slice(-3);
  const ranks = pythons
    .split('.')
    .flatMap((python) =>
      abis
        .split('.')
        .flatMap((abi) => platforms.split('.').map((platform) => rank.get(`${python}-${abi}-${platform}`))),
    )
    .filter((found) => found !== undefined);
  return ranks.length === 0 ? undefined : Math.min(...ranks);
}

function versionOf(file: string): string {
  return file.endsWith('.whl') ? (file.split('-')[1] ?? '') : (/-([^-]+)\.(tar\.|tgz|zip)/.exec(file)?.[1] ?? '');
}
