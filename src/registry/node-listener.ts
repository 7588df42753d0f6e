/**
 * Serves a function of Request to Response from Node's HTTP server. Bodies that are blobs in files, and those of
 * uploads, go between file and socket directly: a web stream in between costs half of the throughput.
 */
import { close, open, read } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { isErrno } from '../core/files.ts';
import { type BlobBody, blobBodyOf, progressBytes } from './blob-response.ts';
import { setDirectBody } from './request-body.ts';

/** Bytes that are read and sent at once; more does not go faster, and each pull has two such buffers. */
const pieceSize = 256 * 1024;
/** How long a client may take nothing before it counts as gone. */
const sendIdleMs = 60_000;

/** @returns a listener for `createServer` of node:http or node:https */
export function nodeListener(fetch: (request: Request) => Response | Promise<Response>) {
  const listener = getRequestListener(
    async (request, env) => {
      // The binding's type names HTTP/2 too, which no listener here speaks.
      const { incoming, outgoing } = env as { incoming: IncomingMessage; outgoing: ServerResponse };
      setDirectBody(request, incoming);
      const response = await fetch(request);
      const body = blobBodyOf(response);
      if (body?.file === undefined) return response;
      return (await sendFile(outgoing, response, body, body.file)) ?? RESPONSE_ALREADY_SENT;
    },
    { overrideGlobalObjects: false },
  );
  return (incoming: IncomingMessage, outgoing: ServerResponse): void => void listener(incoming, outgoing);
}

const openFile = promisify(open);
const closeFile = promisify(close);

function readInto(file: number, buffer: Buffer, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(file, buffer, 0, length, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });
}

/** @returns another response where the blob has gone in the meantime, and nothing when the file was sent or the client left */
async function sendFile(
  outgoing: ServerResponse,
  response: Response,
  { range, onProgress, onEnd }: BlobBody,
  path: string,
): Promise<Response | undefined> {
  let file: number;
  try {
    file = await openFile(path, 'r');
  } catch (error) {
    onEnd();
    if (isErrno(error, 'ENOENT')) return Response.json({ errors: [{ code: 'BLOB_UNKNOWN' }] }, { status: 404 });
    throw error;
  }
  try {
    outgoing.setTimeout(sendIdleMs, () => outgoing.destroy());
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    await pump(outgoing, file, range, onProgress);
    if (!outgoing.destroyed) outgoing.end();
  } catch {
    // The headers are out: all that can be said now is that the bytes end here.
    outgoing.destroy();
  } finally {
    await closeFile(file);
    onEnd();
  }
  return undefined;
}

const freeBuffers: Buffer[] = [];
/** Buffers kept for the next pulls, so that many short ones do not allocate each time. */
const maxFreeBuffers = 64;

/** Two buffers: one is read while the other is being sent. */
async function pump(
  outgoing: ServerResponse,
  file: number,
  { start, length }: BlobBody['range'],
  onProgress: () => void,
): Promise<void> {
  const buffers = [takeBuffer(), takeBuffer()] as const;
  const sent: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];
  let done = 0;
  let sinceProgress = 0;
  try {
    for (let turn: 0 | 1 = 0; done < length; turn = turn === 0 ? 1 : 0) {
      await sent[turn];
      if (outgoing.destroyed) return;
      const buffer = buffers[turn];
      const count = await readInto(file, buffer, Math.min(pieceSize, length - done), start + done);
      if (count === 0) throw new RangeError('The file is shorter than its blob.');
      sent[turn] = written(outgoing, buffer.subarray(0, count));
      // A failure is met when its turn comes; it must not count as unhandled before.
      sent[turn].catch(() => undefined);
      done += count;
      sinceProgress += count;
      if (sinceProgress >= progressBytes) {
        sinceProgress = 0;
        onProgress();
      }
    }
    await Promise.all(sent);
  } finally {
    await Promise.allSettled(sent);
    for (const buffer of buffers) if (freeBuffers.length < maxFreeBuffers) freeBuffers.push(buffer);
  }
}

function takeBuffer(): Buffer {
  return freeBuffers.pop() ?? Buffer.allocUnsafeSlow(pieceSize);
}

function written(outgoing: ServerResponse, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new RangeError('The client has gone.'));
    outgoing.once('close', gone);
    outgoing.write(piece, (error) => {
      outgoing.removeListener('close', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}
