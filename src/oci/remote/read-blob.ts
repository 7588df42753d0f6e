/** Reads a blob to its true end: goes on where a connection broke, and checks size and digest on the way. */
import { createHash } from 'node:crypto';
import { BerthError } from '../../core/errors.ts';
import type { Descriptor } from '../model.ts';
import { otherDigest, type RegistryClient, type Repository } from './client.ts';
import { unreachable } from './registry-errors.ts';
import { maxAttempts } from './retry.ts';

/**
 * @param wanted the blob's digest and size
 * @returns its bytes as they come. What was yielded is true only when the iteration ends without an error.
 * @throws BerthError HASH_MISMATCH, REGISTRY_UNREACHABLE when no byte comes in several attempts, and as client.blob
 */
export async function* readBlob(
  client: RegistryClient,
  repository: Repository,
  wanted: Pick<Descriptor, 'digest' | 'size'>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const what = `the blob ${wanted.digest} of ${repository.registry}/${repository.repository}`;
  const hash = createHash('sha256');
  let done = 0;
  let attempt = 0;
  while (done < wanted.size || (wanted.size === 0 && attempt === 0)) {
    attempt += 1;
    try {
      const { from, bytes } = await client.blob(repository, wanted.digest, done, signal);
      let skip = done - from;
      for await (const received of bytes) {
        const piece = skip > 0 ? received.subarray(Math.min(skip, received.length)) : received;
        skip -= received.length - piece.length;
        if (piece.length === 0) continue;
        done += piece.length;
        if (done > wanted.size) throw otherSize(what, wanted.size);
        hash.update(piece);
        attempt = 0;
        yield piece;
      }
    } catch (error) {
      if (signal?.aborted) throw new BerthError('CANCELLED', `Reading ${what} was cancelled.`, { cause: error });
      // The client has tried again by itself for what it throws; what fetch throws is a connection that broke.
      if (error instanceof BerthError) throw error;
      if (attempt >= maxAttempts) throw unreachable(repository.registry, `for ${what}`, error);
    }
    if (attempt >= maxAttempts) throw unreachable(repository.registry, `for ${what}`, 'it ends too early');
    if (done < wanted.size) await client.transport.wait(Math.max(1, attempt), signal);
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== wanted.digest) throw otherDigest(what, wanted.digest, digest);
}

function otherSize(what: string, size: number): BerthError {
  return new BerthError('HASH_MISMATCH', `For ${what} came more than its ${size} bytes.`, {
    hint: 'The registry, or something between, damaged it: try again, and do not use what was sent.',
  });
}
