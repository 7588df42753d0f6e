/** The socket that berth-hot asks: one request and one answer a connection, and whatever goes wrong ends only that one. */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { createFrameDecoder } from '../../engine/agent/protocol.ts';
import {
  decodeHotRequest,
  encodeHotAttach,
  encodeHotFallBack,
  encodeHotOutput,
  hotFrame,
  maxHotRequestBytes,
  type HotAttachment,
  type HotOutput,
  type HotRequest,
} from './protocol.ts';

export type HotAnswer =
  | { readonly kind: 'fallBack' }
  | { readonly kind: 'output'; readonly output: HotOutput }
  | {
      readonly kind: 'attach';
      readonly attachment: HotAttachment;
      /** Called once when the client has gone; what was made for it ends here. Without it the daemon lets go at once. */
      readonly release?: () => Promise<void>;
    };

/** @param signal aborts when the client has gone */
export type HotHandle = (request: HotRequest, signal: AbortSignal) => Promise<HotAnswer>;

export interface HotServerOptions {
  readonly socketPath: string;
  readonly handle: HotHandle;
  /** Told of what `handle` or a release throws; the client is sent to the Node command, which words it. */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds within which a request must have come. Default 10 000. */
  readonly requestTimeoutMs?: number;
}

export interface HotServer {
  /** Ends all connections, and what is held for them, without taking new ones away from another server. */
  endConnections(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Listens on a unix socket of mode 0600. A socket file that is left there is replaced: the caller holds the lock, so that
 * no living daemon has it, and has made the folder, which only its owner can enter.
 */
export async function createHotServer(options: HotServerOptions): Promise<HotServer> {
  const { socketPath } = options;
  const connections = new Map<Socket, Promise<void>>();
  const server = createServer((socket) => {
    connections.set(
      socket,
      serve(socket, options).finally(() => connections.delete(socket)),
    );
  });
  const endConnections = async (): Promise<void> => {
    for (const socket of connections.keys()) socket.destroy();
    await Promise.all(connections.values());
  };
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  server.on('error', (error) => options.onError?.(error));
  await chmod(socketPath, 0o600);
  return {
    endConnections,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await endConnections();
      await closed;
    },
  };
}

/** Resolves when the connection has ended, and what was held for it. */
async function serve(socket: Socket, options: HotServerOptions): Promise<void> {
  const gone = new AbortController();
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      gone.abort();
      resolve();
    });
  });
  // A client that vanishes: `close` follows.
  socket.on('error', () => undefined);

  const payload = await readRequest(socket, options.requestTimeoutMs ?? 10_000);
  const request = payload && decodeHotRequest(payload);
  if (!request) {
    // Of another version, or of none: a client that is one does it by Node then.
    if (payload) socket.end(encodeHotFallBack());
    else socket.destroy();
    await closed;
    return;
  }

  let answer: HotAnswer = { kind: 'fallBack' };
  try {
    answer = await options.handle(request, gone.signal);
  } catch (error) {
    if (!gone.signal.aborted) options.onError?.(error);
  }
  if (answer.kind === 'fallBack') socket.end(encodeHotFallBack());
  else if (answer.kind === 'output') socket.end(encodeHotOutput(answer.output));
  else if (answer.release) socket.write(encodeHotAttach(answer.attachment));
  else socket.end(encodeHotAttach(answer.attachment));
  await closed;
  if (answer.kind !== 'attach' || !answer.release) return;
  try {
    await answer.release();
  } catch (error) {
    options.onError?.(error);
  }
}

/** @returns the payload of the one request, or undefined when none came */
function readRequest(socket: Socket, timeoutMs: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const decode = createFrameDecoder(maxHotRequestBytes);
    let asked = false;
    const settle = (payload: Buffer | undefined): void => {
      asked = true;
      clearTimeout(timer);
      resolve(payload);
    };
    const timer = setTimeout(() => settle(undefined), timeoutMs);
    socket.on('close', () => settle(undefined));
    socket.on('data', (chunk: Buffer) => {
      if (asked) {
        // A client says nothing after its request.
        socket.destroy();
        return;
      }
      try {
        const frames = decode(chunk);
        const [first] = frames;
        if (first) settle(frames.length === 1 && first.type === hotFrame.request ? first.payload : undefined);
      } catch {
        settle(undefined);
      }
    });
  });
}
