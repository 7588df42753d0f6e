/**
 * What berth-hot and the daemon say to each other over hot.sock, the twin of native/src/hot.h: the frames of the agent's
 * protocol, one request a connection.
 */
import { encodeFrame, encodeRunRequest, type RunRequest } from '../../engine/agent/protocol.ts';

export const hotVersion = 1;
export const maxHotRequestBytes = 1024 * 1024;

/** Frame types by their name; one ASCII letter each on the wire. */
export const hotFrame = {
  request: 0x51,
  stdout: 0x50,
  stderr: 0x45,
  exit: 0x58,
  fallBack: 0x46,
  attach: 0x41,
} as const;

const headerBytes = 10;

/** A command line and what it was given in. */
export interface HotRequest {
  /** The client's build; see core/version.ts. */
  readonly build: string;
  readonly cwd: string;
  /** Without the program's name. */
  readonly args: readonly string[];
  /** Whether the standard streams are terminals. */
  readonly terminals: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  /** Of the terminal on stdout; 0 where there is none. */
  readonly columns: number;
  readonly rows: number;
  /** Variables that settings follow from, and those that a config may read. */
  readonly env: Readonly<Record<string, string>>;
}

/** @returns the request, or undefined when the bytes are none of this version */
export function decodeHotRequest(payload: Buffer): HotRequest | undefined {
  if (payload.length < headerBytes || payload.readUInt8(0) !== hotVersion) return undefined;
  const terminals = payload.readUInt8(1);
  const argumentCount = payload.readUInt16LE(6);
  const variableCount = payload.readUInt16LE(8);
  const texts = payload.toString('utf8', headerBytes).split('\0');
  // Each text ends with a NUL, so that the last part is empty.
  if (texts.length !== 2 + argumentCount + variableCount + 1 || texts.at(-1) !== '') return undefined;
  const [build = '', cwd = ''] = texts;
  if (!cwd.startsWith('/')) return undefined;
  const variables = texts.slice(2 + argumentCount, -1).map((text): [string, string] => {
    const equals = text.indexOf('=');
    return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)];
  });
  return {
    build,
    cwd,
    args: texts.slice(2, 2 + argumentCount),
    terminals: { stdin: (terminals & 1) !== 0, stdout: (terminals & 2) !== 0, stderr: (terminals & 4) !== 0 },
    columns: payload.readUInt16LE(2),
    rows: payload.readUInt16LE(4),
    env: Object.fromEntries(variables),
  };
}

/** What berth-hot is to print, and its exit code. */
export interface HotOutput {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly exitCode: number;
}

/** A command that berth-hot is to run by a berth's agent. */
export interface HotAttachment {
  readonly agentSocket: string;
  readonly request: RunRequest;
  /** What it prints, and exits with, when the agent goes before the command has ended. */
  readonly lost: { readonly text: string; readonly exitCode: number };
}

/** @returns the frames that say it all */
export function encodeHotOutput({ stdout = '', stderr = '', exitCode }: HotOutput): Buffer {
  return Buffer.concat([
    ...(stdout === '' ? [] : [encodeFrame(hotFrame.stdout, Buffer.from(stdout, 'utf8'))]),
    ...(stderr === '' ? [] : [encodeFrame(hotFrame.stderr, Buffer.from(stderr, 'utf8'))]),
    encodeFrame(hotFrame.exit, Uint8Array.of(exitCode)),
  ]);
}

/** @returns the frame that sends berth-hot to the Node command */
export function encodeHotFallBack(): Buffer {
  return encodeFrame(hotFrame.fallBack);
}

/** @returns the frame that sends berth-hot to an agent */
export function encodeHotAttach({ agentSocket, request, lost }: HotAttachment): Buffer {
  const texts = Buffer.from(`${lost.text}\0${agentSocket}\0`, 'utf8');
  return encodeFrame(hotFrame.attach, Buffer.concat([Uint8Array.of(lost.exitCode), texts, encodeRunRequest(request)]));
}
