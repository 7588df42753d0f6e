/**
 * Uploads one blob (distribution specification, "Pushing blobs"): not at all when it is there, by a mount when another
 * repository of the registry has it, else as a stream, which goes on where it broke as far as the registry allows.
 */
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { nameOf, pullScope, pushScope, type RegistryClient, type Repository } from './client.ts';
import { apiHostOf } from './reference.ts';
import { maxAttempts } from './retry.ts';

export interface BlobToSend {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Bytes that lie in memory, or a way to stream them, called again when a connection breaks. */
  readonly content: Uint8Array | ((signal?: AbortSignal) => AsyncIterable<Uint8Array>);
}

export interface UploadOptions {
  /** Repositories of the same registry that may have the blob. */
  readonly mountFrom?: readonly string[];
  /** Bytes to a request, where something between allows no more. Default: one request for all. */
  readonly chunkBytes?: number;
  readonly onProgress?: (sentBytes: number) => void;
  readonly signal?: AbortSignal;
}

export type Uploaded = 'kept' | 'mounted' | 'moved';

/** @throws BerthError as RegistryClient, and what the content's stream throws */
export async function uploadBlob(
  client: RegistryClient,
  repository: Repository,
  blob: BlobToSend,
  options: UploadOptions = {},
): Promise<Uploaded> {
  const { signal } = options;
  if ((await client.blobSize(repository, blob.digest, signal)) !== undefined) return 'kept';
  const what = `the blob ${blob.digest} for ${nameOf(repository)}`;
  let session = await openSession(client, repository, blob.digest, options.mountFrom ?? [], what, signal);
  if (session === 'mounted') return 'mounted';
  let offset = 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (blob.content instanceof Uint8Array)
        await finish(client, repository, session, blob, what, blob.content, signal);
      else {
        session = await stream(client, repository, session, blob, what, offset, options);
        await finish(client, repository, session, blob, what, undefined, signal);
      }
      return 'moved';
    } catch (error) {
      if (signal?.aborted) throw new BerthError('CANCELLED', `Sending ${what} was cancelled.`, { cause: error });
      if (!canGoOn(error, offset > 0) || attempt === maxAttempts) throw error;
      await client.transport.wait(attempt, signal);
      const resumed = await resume(client, repository, session, what, signal);
      ({ session, offset } = resumed ?? {
        session: await openSession(client, repository, blob.digest, [], what, signal),
        offset: 0,
      });
      if (session === 'mounted') return 'mounted';
    }
  }
}

/** Whether another attempt can help: what broke, an upload that was dropped, or one that was taken up at a wrong place. */
function canGoOn(error: unknown, resumed: boolean): boolean {
  if (!(error instanceof BerthError)) return false;
  const status = error.details?.['status'];
  if (error.code === 'REGISTRY_UNREACHABLE' || status === 404 || status === 416) return true;
  return error.code === 'REGISTRY_REFUSED' && resumed;
}

/** @returns where to send to, or that the blob was mounted from another repository */
async function openSession(
  client: RegistryClient,
  repository: Repository,
  digest: Digest,
  mountFrom: readonly string[],
  what: string,
  signal?: AbortSignal,
): Promise<string> {
  const path = `/v2/${repository.repository}/blobs/uploads/`;
  const others = mountFrom.filter((from) => from !== repository.repository);
  // The last try is without a mount; a registry that cannot mount answers the first with a session all the same.
  for (const from of [...others, undefined]) {
    const mount = from === undefined ? '' : `?${new URLSearchParams({ mount: digest, from }).toString()}`;
    const response = await client.transport.send({
      registry: repository.registry,
      method: 'POST',
      path: path + mount,
      scopes: [pushScope(repository), ...(from === undefined ? [] : [pullScope({ ...repository, repository: from })])],
      headers: { 'content-length': '0' },
      accept: from === undefined ? [202, 201] : [202, 201, 400, 401, 403, 404],
      what,
      ...(signal ? { signal } : {}),
    });
    await response.body?.cancel();
    if (response.status === 201) return 'mounted';
    const isLast = from === others.at(-1) || from === undefined;
    if (response.status === 202 && isLast) return locationOf(response, repository, path, what);
  }
  throw new BerthError('REGISTRY_REFUSED', `${repository.registry} opened no upload for ${what}.`);
}

function locationOf(response: Response, repository: Repository, sentTo: string, what: string): string {
  const location = response.headers.get('location');
  if (location === null) {
    throw new BerthError('REGISTRY_REFUSED', `${repository.registry} does not say where to send ${what}.`);
  }
  const base = response.url || `https://${apiHostOf(repository.registry)}${sentTo}`;
  const url = new URL(location, base);
  // Some registries behind a proxy name themselves by the scheme that they do not speak to the outside.
  if (response.url && url.host === new URL(response.url).host) url.protocol = new URL(response.url).protocol;
  return url.href;
}

/** Sends all from the offset on. @returns where to finish */
async function stream(
  client: RegistryClient,
  repository: Repository,
  session: string,
  blob: BlobToSend,
  what: string,
  from: number,
  options: UploadOptions,
): Promise<string> {
  const { signal, chunkBytes = Infinity } = options;
  if (typeof blob.content !== 'function') throw new BerthError('INTERNAL', 'Bytes in memory are not streamed.');
  const reader = pieceReader(blob.content(signal));
  let offset = from;
  let location = session;
  try {
    await reader.skip(from);
    while (offset < blob.size) {
      const length = Math.min(chunkBytes, blob.size - offset);
      const whole = length === blob.size;
      const response = await client.transport
        .send({
          registry: repository.registry,
          method: 'PATCH',
          path: location,
          scopes: [pushScope(repository)],
          headers: {
            'content-type': 'application/octet-stream',
            'content-length': String(length),
            // A whole blob in one request is a plain stream, as Docker sends it; all else are chunks.
            ...(whole ? {} : { 'content-range': `${offset}-${offset + length - 1}` }),
          },
          body: reader.take(length, (sent) => options.onProgress?.(offset + sent)),
          what,
          ...(signal ? { signal } : {}),
        })
        .catch((error: unknown) => {
          throw reader.failure() ?? error;
        });
      await response.body?.cancel();
      location = locationOf(response, repository, location, what);
      offset += length;
    }
    return location;
  } finally {
    await reader.close();
  }
}

/** Says that the blob is whole, with its bytes where they were not sent before. */
async function finish(
  client: RegistryClient,
  repository: Repository,
  session: string,
  blob: BlobToSend,
  what: string,
  bytes: Uint8Array | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const url = new URL(session);
  url.searchParams.set('digest', blob.digest);
  const response = await client.transport.send({
    registry: repository.registry,
    method: 'PUT',
    path: url.href,
    scopes: [pushScope(repository)],
    headers: bytes ? { 'content-type': 'application/octet-stream' } : { 'content-length': '0' },
    ...(bytes ? { body: bytes } : {}),
    what,
    ...(signal ? { signal } : {}),
  });
  await response.body?.cancel();
}

/** Asks how much came through. @returns undefined where the registry has dropped the upload */
async function resume(
  client: RegistryClient,
  repository: Repository,
  session: string,
  what: string,
  signal?: AbortSignal,
): Promise<{ session: string; offset: number } | undefined> {
  const response = await client.transport
    .send({
      registry: repository.registry,
      method: 'GET',
      path: session,
      scopes: [pushScope(repository)],
      accept: [204],
      what,
      ...(signal ? { signal } : {}),
    })
    .catch((error: unknown) => {
      if (error instanceof BerthError && error.code !== 'CANCELLED') return undefined;
      throw error;
    });
  if (!response) return undefined;
  await response.body?.cancel();
  // `0-0` is what registries say of an upload that is empty, and of one that has a single byte.
  const last = Number(/^(?:bytes=)?0-(\d+)$/.exec(response.headers.get('range') ?? '')?.[1] ?? 0);
  const next = response.headers.has('location') ? locationOf(response, repository, session, what) : session;
  return last === 0 ? undefined : { session: next, offset: last + 1 };
}

/** Reads a stream in parts of a given length, without joining pieces, and remembers whether the stream itself failed. */
function pieceReader(source: AsyncIterable<Uint8Array>) {
  const iterator = source[Symbol.asyncIterator]();
  let left: Uint8Array = new Uint8Array(0);
  let failed: unknown;
  const next = async (atMost: number): Promise<Uint8Array> => {
    while (left.length === 0) {
      const step = await iterator.next().catch((error: unknown) => {
        failed = error;
        throw error;
      });
      if (step.done) {
        failed = new BerthError('LAYER_UNREADABLE', 'A layer ended before the size that was said of it.');
        throw failed as Error;
      }
      left = step.value;
    }
    const piece = left.subarray(0, atMost);
    left = left.subarray(piece.length);
    return piece;
  };
  return {
    async skip(bytes: number): Promise<void> {
      for (let toSkip = bytes; toSkip > 0;) toSkip -= (await next(toSkip)).length;
    },
    async *take(bytes: number, onSent: (sent: number) => void): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < bytes;) {
        const piece = await next(bytes - sent);
        sent += piece.length;
        yield piece;
        onSent(sent);
      }
    },
    failure: () => failed,
    close: async () => {
      await iterator.return?.();
    },
  };
}
