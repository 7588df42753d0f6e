/**
 * Takes what commands in a berth ask of the daemon. The daemon opens the connection, to the agent's socket as for anything
 * else; the agent listens inside and passes one question at a time through it (native/src/host.c). What comes is the
 * berth's word: nothing in it is trusted.
 */
import { once } from 'node:events';
import { BerthError } from '../../core/errors.ts';
import { connectToAgent } from './agent-socket.ts';
import { createFrameDecoder, encodeFrame, frame, maxFrameBytes, type Frame } from './protocol.ts';

/** What a command in a berth asks. */
export interface Question {
  readonly argv: readonly string[];
  /** Aborts when who asked has gone. */
  readonly signal: AbortSignal;
  stdout(text: string): void;
  stderr(text: string): void;
}

export interface HostChannel {
  /** Resolves when the connection has ended: the berth has stopped, or it was closed. */
  readonly closed: Promise<void>;
  close(): void;
}

/**
 * @param answer gives the command's exit code
 * @throws BerthError AGENT_UNREACHABLE
 */
export async function takeQuestions(
  socketPath: string,
  answer: (question: Question) => Promise<number>,
): Promise<HostChannel> {
  const socket = await connectToAgent(socketPath);
  const decode = createFrameDecoder(maxFrameBytes);
  let asking: AbortController | undefined;

  const write = (type: number, text: string) => {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length && !socket.destroyed; at += maxFrameBytes) {
      socket.write(encodeFrame(type, bytes.subarray(at, at + maxFrameBytes)));
    }
  };
  const handle = ({ type, payload }: Frame) => {
    if (type === frame.cancel) asking?.abort();
    if (type !== frame.ask || asking) return;
    const controller = new AbortController();
    asking = controller;
    const question: Question = {
      argv: payload.toString('utf8').split('\0').slice(0, -1),
      signal: controller.signal,
      stdout: (text) => write(frame.stdout, text),
      stderr: (text) => write(frame.stderr, text),
    };
    void answer(question)
      .catch(() => 70)
      .then((code) => {
        asking = undefined;
        if (!socket.destroyed) socket.write(encodeFrame(frame.exit, Uint8Array.of(0, code & 0xff)));
      });
  };
  const ready = new Promise<void>((resolve, reject) => {
    const fail = (why: string) =>
      reject(new BerthError('AGENT_UNREACHABLE', `The berth's agent on ${socketPath} takes no questions: ${why}.`));
    socket.on('error', () => fail('the connection failed'));
    socket.on('close', () => {
      asking?.abort();
      fail('it went away');
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const received of decode(chunk)) {
          if (received.type === frame.ok) resolve();
          else if (received.type === frame.error) fail(received.payload.toString('utf8'));
          else handle(received);
        }
      } catch {
        // What is no frame comes from no agent of ours.
        socket.destroy();
      }
    });
  });
  const closed = once(socket, 'close').then(() => undefined);
  socket.write(encodeFrame(frame.host));
  try {
    await ready;
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return { closed, close: () => void socket.destroy() };
}
