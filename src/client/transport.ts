/** HTTP over the daemon's unix socket. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { BerthError, type ErrorReport } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** Sends one request; resolves when the answer's headers are there. */
export type Transport = (request: TransportRequest) => Promise<TransportResponse>;

/**
 * @param socketPath the daemon's socket
 * @returns a transport that fails with DAEMON_UNREACHABLE where no daemon answers; see connect.ts for one that starts it
 */
export function socketTransport(socketPath: string): Transport {
  return (request) =>
    new Promise((resolve, reject) => {
      const { signal } = request;
      if (signal?.aborted) {
        reject(cancelled());
        return;
      }
      const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
      const outgoing = httpRequest(
        {
          socketPath,
          method: request.method,
          path: request.path,
          agent: false,
          headers: {
            host: 'localhost',
            accept: request.accept ?? 'application/json',
            ...(body ? { 'content-type': 'application/json', 'content-length': body.length } : {}),
            ...request.headers,
          },
          ...(signal ? { signal } : {}),
        },
        (response) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response }),
      );
      outgoing.on('error', (error) => reject(signal?.aborted ? cancelled() : unreachable(socketPath, error)));
      outgoing.end(body);
    });
}

/** @returns whether the error means that no daemon listens on the socket, so that starting one may help */
export function isNobodyListening(error: unknown): boolean {
  return error instanceof BerthError && isErrno(error.cause, 'ENOENT', 'ECONNREFUSED');
}

/** @returns the body as text */
export async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * @returns the JSON of an answer
 * @throws BerthError the one that the answer reports, where its status is not 2xx
 */
export async function readAnswer<T>(response: TransportResponse): Promise<T> {
  const text = await readText(response.body);
  if (response.status >= 200 && response.status < 300) return JSON.parse(text) as T;
  throw errorOf(response.status, text);
}

function errorOf(status: number, text: string): BerthError {
  try {
    const { error } = JSON.parse(text) as { error: ErrorReport };
    return BerthError.fromReport(error);
  } catch {
    return new BerthError('INTERNAL', `The daemon answered with status ${status}: ${text.slice(0, 200)}`);
  }
}

function cancelled(): BerthError {
  return new BerthError('CANCELLED', 'The work was cancelled.');
}

function unreachable(socketPath: string, cause: Error): BerthError {
  return new BerthError('DAEMON_UNREACHABLE', `No daemon answers on ${socketPath}: ${cause.message}.`, { cause });
}
