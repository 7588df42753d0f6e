/**
 * Go's `h1` hash of a module: SHA-256 over a list of its files' SHA-256 sums (golang.org/x/mod/sumdb/dirhash, Hash1). For a
 * `go.mod` by itself the list has one line with that name.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { BerthError } from '../../core/errors.ts';
import { formatIntegrity } from '../integrity.ts';
import type { LockedArtifact } from '../library.ts';

/** @returns the `h1` digest of files by their names */
export function hashOfFiles(files: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const hash = createHash('sha256');
  for (const name of Object.keys(files).sort()) {
    const sum = createHash('sha256')
      .update(files[name] ?? '')
      .digest('hex');
    hash.update(`${sum}  ${name}\n`);
  }
  return hash.digest();
}

/**
 * Checks a downloaded module, a zip or a `go.mod`, against go.sum's hash.
 * @throws BerthError HASH_MISMATCH
 */
export async function verifyModule(file: string, artifact: LockedArtifact): Promise<void> {
  const content = await readFile(file);
  const files = artifact.url.endsWith('.mod') ? { 'go.mod': content } : await unzipped(content);
  const digest = hashOfFiles(files);
  if (Buffer.from(digest).equals(Buffer.from(artifact.integrity.digest))) return;
  throw new BerthError('HASH_MISMATCH', `${artifact.label} is not what go.sum says.`, {
    details: {
      url: artifact.url,
      wanted: formatIntegrity(artifact.integrity),
      got: formatIntegrity({ algorithm: 'h1', digest }),
    },
  });
}

async function unzipped(content: Uint8Array): Promise<Record<string, Uint8Array>> {
  const { unzip } = await import('fflate');
  return new Promise((resolve, reject) => {
    unzip(content, (error, files) => {
      if (error) reject(error);
      // Folders are entries of their own, and no files.
      else resolve(Object.fromEntries(Object.entries(files).filter(([name]) => !name.endsWith('/'))));
    });
  });
}
