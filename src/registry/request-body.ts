/** The bytes that a client sends, with an eye on the client: one that has gone or fallen silent is noticed. */
import type { Readable } from 'node:stream';
import { BerthError } from '../core/errors.ts';
import { Refusal } from './refusal.ts';

const direct = new WeakMap<Request, Readable>();

/** Says where node-listener.ts has the request's bytes, so that they come without the detour of a web stream. */
export function setDirectBody(request: Request, incoming: Readable): void {
  direct.set(request, incoming);
}

/**
 * @param idleMs milliseconds without a byte after which the client counts as gone
 * @throws Refusal UNKNOWN with status 408, or BerthError CANCELLED when the client has gone
 */
export async function* bodyOf(request: Request, idleMs: number): AsyncGenerator<Uint8Array> {
  const incoming = direct.get(request);
  // Not destroyed when it is left early: the answer that tells why goes over the same connection.
  const pieces: AsyncIterator<Uint8Array> | undefined =
    incoming?.iterator({ destroyOnReturn: false }) ?? request.body?.[Symbol.asyncIterator]();
  if (!pieces) return;
  let ended = false;
  try {
    for (;;) {
      const next = await within(pieces.next(), idleMs);
      ended = next.done === true;
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new BerthError('CANCELLED', 'The client went away before it had sent everything.', { cause: error });
  } finally {
    // Not awaited: a client that is silent would hold this up.
    if (!ended) void pieces.return?.().catch(() => undefined);
  }
}

/** @throws Refusal MANIFEST_INVALID with status 413 when there are more bytes */
export async function wholeBodyOf(request: Request, maxBytes: number, idleMs: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of bodyOf(request, idleMs)) {
    size += piece.length;
    if (size > maxBytes) {
      throw new Refusal('MANIFEST_INVALID', `A manifest may have ${maxBytes} bytes at most.`, { status: 413 });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Refusal(
            'UNKNOWN',
            `Nothing came for ${ms / 1000} s. What came before is kept; an upload can be resumed.`,
            {
              status: 408,
              headers: { Connection: 'close' },
            },
          ),
        ),
      ms,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
