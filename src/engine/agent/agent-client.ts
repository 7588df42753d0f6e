/** Talks to the agent of a running berth: commands with their streams, and the small requests. */
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { Readable, Writable } from 'node:stream';
import { BerthError } from '../../core/errors.ts';
import { connectToAgent } from './agent-socket.ts';
import {
  createFrameDecoder,
  encodeFrame,
  encodeRunRequest,
  frame,
  type Frame,
  isSendable,
  maxFrameBytes,
  maxRequestBytes,
  type RunRequest,
  streamWindowBytes,
} from './protocol.ts';

export type ExitStatus = { readonly code: number } | { readonly signal: NodeJS.Signals };

/** A command that runs in a berth. */
export interface Execution {
  /** Ends with end(): the command then reads end-of-file. */
  readonly stdin: Writable;
  /** With a terminal: all its output. */
  readonly stdout: Readable;
  /** Separate from stdout; empty with a terminal. */
  readonly stderr: Readable;
  /** The process's number inside the container. */
  readonly pid: number;
  resize(columns: number, rows: number): void;
  /** Sends a signal to the command's process group. */
  signal(name: NodeJS.Signals): void;
  /** Leaves the command: it gets SIGHUP, and SIGKILL after the grace time, unless it was started with `detach`. */
  leave(): void;
  /**
   * How the command ended. Comes after its last output has been taken from stdout and stderr, or at once when they hold
   * less than the protocol's window; rejects with AGENT_UNREACHABLE when the berth ends first.
   */
  readonly exit: Promise<ExitStatus>;
}

/**
 * Runs a command in a berth.
 * @param socketPath the agent's socket on the host
 * @param signal aborting it leaves the command
 * @throws BerthError AGENT_UNREACHABLE, COMMAND_NOT_STARTED
 */
export async function execInBerth(socketPath: string, request: RunRequest, signal?: AbortSignal): Promise<Execution> {
  if (!isSendable(request)) {
    throw new BerthError('COMMAND_NOT_STARTED', 'The command is longer than 1 MiB, or holds a NUL byte.');
  }
  signal?.throwIfAborted();
  const socket = await connectToAgent(socketPath);
  signal?.addEventListener('abort', () => socket.destroy(), { once: true });
  socket.write(encodeFrame(frame.run, encodeRunRequest(request)));
  return startedExecution(socket);
}

async function startedExecution(socket: Socket): Promise<Execution> {
  return new Promise((resolve, reject) => {
    const decode = createFrameDecoder(maxFrameBytes);
    const stdout = outputStream(socket, 1);
    const stderr = outputStream(socket, 2);
    const stdin = inputStream(socket);
    let pid: number | undefined;
    let settleExit: { resolve: (status: ExitStatus) => void; reject: (error: Error) => void } | undefined;

    const finish = (error?: Error) => {
      stdout.stream.push(null);
      stderr.stream.push(null);
      stdin.close();
      if (error) {
        settleExit?.reject(error);
        reject(error);
      }
      socket.destroy();
    };
    const handle = ({ type, payload }: Frame) => {
      if (type === frame.started && pid === undefined) {
        pid = payload.readUInt32LE(0);
        const exit = new Promise<ExitStatus>((resolveExit, rejectExit) => {
          settleExit = { resolve: resolveExit, reject: rejectExit };
        });
        // A caller that only reads the streams has not asked for the exit: its rejection is then no surprise.
        exit.catch(() => undefined);
        resolve({
          stdin: stdin.stream,
          stdout: stdout.stream,
          stderr: stderr.stream,
          pid,
          resize: (columns, rows) => socket.write(encodeFrame(frame.resize, u16Pair(columns, rows))),
          signal: (name) => socket.write(encodeFrame(frame.signal, Uint8Array.of(constants.signals[name]))),
          leave: () => socket.destroy(),
          exit,
        });
      } else if (type === frame.stdout) stdout.push(payload);
      else if (type === frame.stderr) stderr.push(payload);
      else if (type === frame.window) stdin.grant(payload.readUInt32LE(1));
      else if (type === frame.exit) {
        settleExit?.resolve(exitStatus(payload.readUInt8(0), payload.readUInt8(1)));
        finish();
      } else if (type === frame.error) {
        finish(new BerthError('COMMAND_NOT_STARTED', `The command was not started: ${payload.toString('utf8')}.`));
      }
    };
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const received of decode(chunk)) handle(received);
      } catch (error) {
        finish(new BerthError('AGENT_UNREACHABLE', "The berth's agent answered in no known way.", { cause: error }));
      }
    });
    const ended = (cause?: Error) =>
      finish(new BerthError('AGENT_UNREACHABLE', 'The berth ended before the command did.', { cause }));
    socket.on('error', ended);
    socket.on('close', () => ended());
  });
}

function exitStatus(kind: number, value: number): ExitStatus {
  if (kind === 0) return { code: value };
  const name = Object.entries(constants.signals).find(([, number]) => number === value)?.[0];
  return name === undefined ? { code: 128 + value } : { signal: name as NodeJS.Signals };
}

function u16Pair(first: number, second: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(Math.max(0, Math.min(0xffff, first)), 0);
  bytes.writeUInt16LE(Math.max(0, Math.min(0xffff, second)), 2);
  return bytes;
}

function windowFrame(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(5);
  payload.writeUInt8(stream, 0);
  payload.writeUInt32LE(bytes, 1);
  return encodeFrame(frame.window, payload);
}

/** A stream of the command's output. What the reader took is told to the agent, which then sends more. */
function outputStream(socket: Socket, number: 1 | 2) {
  let owed = 0;
  let full = false;
  const tell = () => {
    if (owed === 0 || socket.destroyed) return;
    socket.write(windowFrame(number, owed));
    owed = 0;
  };
  const stream = new Readable({
    read() {
      full = false;
      tell();
    },
  });
  stream.on('error', () => undefined);
  return {
    stream,
    push(payload: Buffer): void {
      if (stream.destroyed) {
        // Nobody reads it any more: it is taken and dropped, so that the command goes on.
        owed += payload.length;
        tell();
        return;
      }
      owed += payload.length;
      full = !stream.push(payload) || full;
      if (!full && owed >= streamWindowBytes / 4) tell();
    },
  };
}

/** The command's standard input: sends at most what the agent has room for. */
function inputStream(socket: Socket) {
  let window = streamWindowBytes;
  let closed = false;
  let waiting: (() => void) | undefined;
  const pump = (chunk: Buffer, done: () => void) => {
    let at = 0;
    while (at < chunk.length && window > 0 && !closed) {
      const part = Math.min(chunk.length - at, window, maxFrameBytes);
      socket.write(encodeFrame(frame.stdin, chunk.subarray(at, at + part)));
      window -= part;
      at += part;
    }
    if (at >= chunk.length || closed) done();
    else waiting = () => pump(chunk.subarray(at), done);
  };
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      pump(chunk, done);
    },
    final(done) {
      if (!closed) socket.write(encodeFrame(frame.stdinEnd));
      done();
    },
  });
  const resume = () => {
    const next = waiting;
    waiting = undefined;
    next?.();
  };
  return {
    stream,
    grant(bytes: number): void {
      window += bytes;
      resume();
    },
    close(): void {
      closed = true;
      resume();
    },
  };
}

/** Sends a request that has one answer, and returns it. */
async function ask(socketPath: string, type: number, payload?: Uint8Array, signal?: AbortSignal): Promise<Frame> {
  signal?.throwIfAborted();
  const socket = await connectToAgent(socketPath);
  return new Promise((resolve, reject) => {
    const decode = createFrameDecoder(maxRequestBytes);
    const fail = (cause?: unknown) => {
      socket.destroy();
      reject(new BerthError('AGENT_UNREACHABLE', `The berth's agent on ${socketPath} did not answer.`, { cause }));
    };
    signal?.addEventListener('abort', fail, { once: true });
    socket.on('error', fail);
    socket.on('close', () => fail());
    socket.on('data', (chunk: Buffer) => {
      try {
        const [answer] = decode(chunk);
        if (!answer) return;
        resolve(answer);
        socket.destroy();
      } catch (error) {
        fail(error);
      }
    });
    socket.write(encodeFrame(type, payload));
  });
}

export interface AgentStatus {
  readonly version: number;
  /** State of the berth's own command. */
  readonly command: 'none' | 'running' | 'ended';
}

/** @throws BerthError AGENT_UNREACHABLE */
export async function pingAgent(socketPath: string, signal?: AbortSignal): Promise<AgentStatus> {
  const { type, payload } = await ask(socketPath, frame.ping, undefined, signal);
  const command = (['none', 'running', 'ended'] as const)[payload[1] ?? 3];
  if (type !== frame.pong || command === undefined) {
    throw new BerthError('AGENT_UNREACHABLE', `What answers on ${socketPath} is not Berth's agent.`);
  }
  return { version: payload.readUInt8(0), command };
}

/** A stopped process answers never: the caller must not wait as long. */
const refreshTimeoutMs = 5000;

/**
 * Tells the agent that the link `fhs` leads elsewhere now, so that /etc follows it.
 * @param generation that it will lead to in a moment: /etc then has what is new there beforehand
 * @throws BerthError AGENT_UNREACHABLE
 */
export async function refreshLinks(socketPath: string, generation?: number): Promise<void> {
  const payload = Buffer.alloc(generation === undefined ? 0 : 4);
  if (generation !== undefined) payload.writeUInt32LE(generation);
  await ask(socketPath, frame.refresh, payload, AbortSignal.timeout(refreshTimeoutMs));
}

/** Has the agent start the berth's own command, which a container that waited did not have when it started. */
export async function beginCommand(socketPath: string): Promise<void> {
  await ask(socketPath, frame.begin);
}

/**
 * Stops the berth: SIGTERM to all its processes, SIGKILL after the grace time.
 * @returns after the berth's last process has ended
 */
export async function stopThroughAgent(socketPath: string, graceMs: number): Promise<void> {
  const socket = await connectToAgent(socketPath);
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(Math.max(0, Math.min(0x7fffffff, Math.trunc(graceMs))), 0);
  socket.write(encodeFrame(frame.stop, payload));
  socket.resume();
  await new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}

/**
 * Connects to a port on the container's loopback interface.
 * @returns a socket whose bytes are the connection's
 * @throws BerthError PORT_CLOSED when nothing listens there
 */
export async function connectToPort(socketPath: string, port: number): Promise<Socket> {
  const socket = await connectToAgent(socketPath);
  const payload = Buffer.alloc(2);
  payload.writeUInt16LE(port, 0);
  socket.write(encodeFrame(frame.connect, payload));
  return new Promise((resolve, reject) => {
    const fail = () => {
      socket.destroy();
      reject(new BerthError('PORT_CLOSED', `Nothing listens on port ${port} in the berth.`));
    };
    socket.once('error', fail);
    socket.once('close', fail);
    // Exactly the answer's header is read first: what follows belongs to the connection.
    const onReadable = () => {
      const header = socket.read(5) as Buffer | null;
      if (header === null) return;
      socket.off('readable', onReadable);
      socket.off('error', fail);
      socket.off('close', fail);
      if (header.readUInt8(0) === frame.ok) resolve(socket);
      else fail();
    };
    socket.on('readable', onReadable);
  });
}
