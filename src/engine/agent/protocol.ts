/**
 * The agent's protocol, the twin of native/src/protocol.h: frames of u8 type, u32 length (little endian) and payload.
 * docs/agent.md explains it.
 */

export const protocolVersion = 1;
export const frameHeaderBytes = 5;
export const maxRequestBytes = 1024 * 1024;
export const maxFrameBytes = 32 * 1024;
/** Bytes of one stream that may be under way before its reader has said that it took some. */
export const streamWindowBytes = 256 * 1024;

/** Frame types by their name; one ASCII letter each on the wire. */
export const frame = {
  run: 0x52,
  ping: 0x50,
  refresh: 0x4c,
  begin: 0x42,
  connect: 0x43,
  stop: 0x4b,
  host: 0x48,
  ask: 0x51,
  cancel: 0x63,
  stdin: 0x49,
  stdinEnd: 0x69,
  signal: 0x47,
  resize: 0x5a,
  window: 0x57,
  stdout: 0x4f,
  stderr: 0x45,
  started: 0x53,
  exit: 0x58,
  ok: 0x6b,
  pong: 0x70,
  error: 0x65,
} as const;

/** Flags of a run request. */
export const runFlag = { tty: 1, descriptors: 2, environment: 4, hook: 8, detach: 16, noStdin: 32 } as const;

const noId = 0xffffffff;
const runHeaderBytes = 24;

/** A command for the agent. */
export interface RunRequest {
  /** Program and arguments. Empty: a shell, interactive with `tty`, else reading its commands from stdin. */
  readonly argv: readonly string[];
  /** Absolute, inside the container. Default `/work`. */
  readonly cwd?: string;
  /** Set over those of the environment. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly tty?: { readonly columns: number; readonly rows: number };
  /** With the variables of /run/berth/environment. Default true. */
  readonly environment?: boolean;
  /** After sourcing /run/berth/hook. Default false. */
  readonly hook?: boolean;
  readonly user?: { readonly uid: number; readonly gid: number };
  /** The command goes on when the client leaves. Default false: it gets SIGHUP, and SIGKILL after the grace time. */
  readonly detach?: boolean;
  readonly graceMs?: number;
  /** Standard input is /dev/null. */
  readonly noStdin?: boolean;
}

/** @returns the payload of a run request's frame; berth-hot's attach frame carries the same bytes */
export function encodeRunRequest(request: RunRequest): Buffer {
  const variables = Object.entries(request.variables ?? {}).map(([key, value]) => `${key}=${value}`);
  const texts = [request.cwd ?? '', ...request.argv, ...variables];
  const header = Buffer.alloc(runHeaderBytes);
  header.writeUInt8(protocolVersion, 0);
  header.writeUInt16LE(flagsOf(request), 2);
  header.writeUInt16LE(clampToU16(request.tty?.columns ?? 0), 4);
  header.writeUInt16LE(clampToU16(request.tty?.rows ?? 0), 6);
  header.writeUInt32LE(request.user?.uid ?? noId, 8);
  header.writeUInt32LE(request.user?.gid ?? noId, 12);
  header.writeUInt32LE(request.graceMs ?? 2000, 16);
  header.writeUInt16LE(request.argv.length, 20);
  header.writeUInt16LE(variables.length, 22);
  return Buffer.concat([header, Buffer.from(texts.map((text) => `${text}\0`).join(''), 'utf8')]);
}

/** @returns whether all texts can be sent: none holds a NUL byte, and there are not too many bytes */
export function isSendable(request: RunRequest): boolean {
  const texts = [request.cwd ?? '', ...request.argv, ...Object.entries(request.variables ?? {}).flat()];
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, runHeaderBytes);
  return bytes <= maxRequestBytes && request.argv.length <= 8192 && texts.every((text) => !text.includes('\0'));
}

function flagsOf(request: RunRequest): number {
  return (
    (request.tty ? runFlag.tty : 0) |
    ((request.environment ?? true) ? runFlag.environment : 0) |
    (request.hook ? runFlag.hook : 0) |
    (request.detach ? runFlag.detach : 0) |
    (request.noStdin ? runFlag.noStdin : 0)
  );
}

function clampToU16(value: number): number {
  return Math.max(0, Math.min(0xffff, Math.trunc(value)));
}

/** @returns a whole frame */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes + payload.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32LE(payload.length, 1);
  bytes.set(payload, frameHeaderBytes);
  return bytes;
}

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** What a peer sent is not of the protocol. */
export class ProtocolViolation extends TypeError {}

/**
 * Cuts a stream of bytes into frames.
 * @param maxPayload longest payload that is accepted; a longer one throws ProtocolViolation
 * @returns a function that takes the next bytes and returns the frames that they complete
 */
export function createFrameDecoder(maxPayload: number): (chunk: Buffer) => Frame[] {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (rest.length - at >= frameHeaderBytes) {
      const length = rest.readUInt32LE(at + 1);
      if (length > maxPayload) throw new ProtocolViolation(`a frame of ${length} bytes`);
      if (rest.length - at < frameHeaderBytes + length) break;
      const payload = rest.subarray(at + frameHeaderBytes, at + frameHeaderBytes + length);
      frames.push({ type: rest.readUInt8(at), payload });
      at += frameHeaderBytes + length;
    }
    rest = rest.subarray(at);
    return frames;
  };
}
