/** A suite's signed Release file: its signature, date, and the hashes of its package lists. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { exec } from '../../core/exec.ts';
import { parseParagraphs } from './control.ts';

export interface Release {
  readonly suite: string;
  readonly codename: string;
  /** When the archive wrote it. */
  readonly date: Date;
  /** Past this moment it must not be trusted to be current; absent for suites that never expire. */
  readonly validUntil: Date | undefined;
  readonly components: readonly string[];
  readonly byHash: boolean;
  /** Path below the suite's folder to size in bytes and SHA-256. */
  readonly files: ReadonlyMap<string, { readonly sha256: string; readonly size: number }>;
}

/** How to check a signature. */
export interface SignatureCheck {
  readonly gpgv: string;
  /** Keyring files; a signature by any key in any of them is good. */
  readonly keyrings: readonly string[];
  readonly signal?: AbortSignal;
}

/**
 * Checks an InRelease file's signature and returns what was signed.
 * @param what names the file in errors: `bookworm at http://…`
 * @throws BerthError SIGNATURE_INVALID when no key of the keyrings has signed it
 */
export async function verifyInRelease(inRelease: string, what: string, check: SignatureCheck): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'berth-gpgv-'));
  try {
    const file = join(directory, 'InRelease');
    await writeFile(file, inRelease);
    // gpgv writes the signed text itself, so that nothing outside of the signature can pass for signed.
    const result = await exec(
      check.gpgv,
      ['--quiet', ...check.keyrings.flatMap((keyring) => ['--keyring', keyring]), '--output', '-', file],
      { timeoutMs: 30_000, ...(check.signal ? { signal: check.signal } : {}) },
    );
    if (result.code !== 0) {
      const reason = result.stderr.trim().split('\n').at(-1) ?? '';
      throw new BerthError('SIGNATURE_INVALID', `The Release file of ${what} has no good signature: ${reason}.`, {
        hint: `Check the mirror, and that the keyring (${check.keyrings.join(', ')}) is current.`,
        details: { gpgv: result.stderr.slice(0, 2000) },
      });
    }
    return result.stdout;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns the Release file's fields */
export function parseRelease(text: string): Release {
  const [paragraph] = parseParagraphs(text);
  const field = (name: string) => paragraph?.get(name) ?? '';
  const validUntil = field('valid-until');
  const files = new Map<string, { sha256: string; size: number }>();
  for (const line of field('sha256').split('\n')) {
    const [sha256, size, path] = line.trim().split(/\s+/);
    if (sha256 && size && path) files.set(path, { sha256, size: Number(size) });
  }
  return {
    suite: field('suite'),
    codename: field('codename'),
    date: new Date(field('date')),
    validUntil: validUntil === '' ? undefined : new Date(validUntil),
    // Security archives say `updates/main` for `main`.
    components: field('components')
      .split(/\s+/)
      .map((name) => name.split('/').at(-1) ?? name),
    byHash: field('acquire-by-hash') === 'yes',
    files,
  };
}
