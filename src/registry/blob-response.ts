/**
 * A response whose body is a blob. To everyone it is an ordinary Response with a stream; to node-listener.ts it also
 * tells where the bytes are, so that they go from the file to the socket without the detour of a web stream, which
 * costs half of the throughput.
 */
import type { BlobDigest, BlobRange, BlobStore } from '../oci/blobs/blob-store.ts';

export interface BlobBody {
  /** The file, where the store has files. */
  readonly file: string | undefined;
  readonly range: BlobRange;
  /** To be called now and then while bytes flow. */
  readonly onProgress: () => void;
  /** To be called when no more will be sent. */
  readonly onEnd: () => void;
}

const bodies = new WeakMap<Response, BlobBody>();

/** @returns where the body's bytes are, for a response that blobResponse made */
export function blobBodyOf(response: Response): BlobBody | undefined {
  return bodies.get(response);
}

export interface BlobResponseOptions {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly onProgress: () => void;
  readonly onEnd: () => void;
  readonly signal: AbortSignal;
}

/** How many bytes flow between two calls of onProgress. */
export const progressBytes = 64 * 1024 * 1024;

export function blobResponse(
  blobs: BlobStore,
  digest: BlobDigest,
  range: BlobRange,
  { status, headers, onProgress, onEnd, signal }: BlobResponseOptions,
): Response {
  let reading: AsyncIterator<Uint8Array> | undefined;
  let sinceProgress = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          reading ??= blobs.read(digest, { range, signal })[Symbol.asyncIterator]();
          const next = await reading.next();
          if (next.done === true) {
            controller.close();
            onEnd();
            return;
          }
          const { value } = next;
          sinceProgress += value.length;
          if (sinceProgress >= progressBytes) {
            sinceProgress = 0;
            onProgress();
          }
          controller.enqueue(value);
        } catch (error) {
          onEnd();
          throw error;
        }
      },
      async cancel() {
        onEnd();
        await reading?.return?.();
      },
    },
    // Nothing is read before somebody asks: the body may go another way.
    { highWaterMark: 0 },
  );
  const response = new Response(stream, { status, headers });
  bodies.set(response, { file: blobs.file?.(digest), range, onProgress, onEnd });
  return response;
}
