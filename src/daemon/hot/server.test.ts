import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame } from '../../engine/agent/protocol.ts';
import { hotFrame, maxHotRequestBytes, type HotRequest } from './protocol.ts';
import { encodeHotRequest } from './request-for-tests.ts';
import { createHotServer, type HotAnswer, type HotHandle, type HotServer } from './server.ts';

const request: HotRequest = {
  build: 'source',
  cwd: '/',
  args: ['ps'],
  terminals: { stdin: false, stdout: false, stderr: false },
  columns: 0,
  rows: 0,
  env: {},
};
const asked = encodeFrame(hotFrame.request, encodeHotRequest(request));
const hello: HotAnswer = { kind: 'output', output: { stdout: 'hello', exitCode: 3 } };
const helloBytes = 'P\x05\0\0\0helloX\x01\0\0\0\x03';

let folder: string;
let server: HotServer | undefined;
const errors: unknown[] = [];

beforeEach(() => {
  folder = mkdtempSync('/tmp/berth-hot-');
  errors.length = 0;
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const path = () => join(folder, 'hot.sock');
async function serve(handle: HotHandle, requestTimeoutMs = 5000): Promise<void> {
  server = await createHotServer({
    ...{ socketPath: path(), handle, requestTimeoutMs },
    onError: (error) => errors.push(error),
  });
}

/** Sends the bytes and reads to the end. */
async function ask(bytes: Uint8Array): Promise<string> {
  const socket = connect(path());
  socket.on('error', () => undefined);
  socket.write(bytes);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

async function connected(bytes: Uint8Array): Promise<Socket> {
  const socket = connect(path());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return socket;
}

/** Kept open until the client goes. */
function attach(release: () => Promise<void>): HotAnswer {
  const attachment = { agentSocket: '/a', request: { argv: [] }, lost: { text: '', exitCode: 70 } };
  return { kind: 'attach', attachment, release };
}

describe('createHotServer', () => {
  it('answers a request, whole or in pieces', async () => {
    const seen: HotRequest[] = [];
    await serve((got) => {
      seen.push(got);
      return Promise.resolve(hello);
    });
    expect(await ask(asked)).toBe(helloBytes);
    const socket = connect(path());
    for (const byte of asked) {
      socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(String((await once(socket, 'data'))[0])).toBe(helloBytes);
    expect(seen).toEqual([request, request]);
  });

  it("is its owner's only, and replaces a file that was left there", async () => {
    writeFileSync(path(), 'left');
    await serve(() => Promise.resolve(hello));
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(await ask(asked)).toBe(helloBytes);
  });

  it('sends a client of another version to the Node command', async () => {
    await serve(() => Promise.resolve(hello));
    const other = Buffer.from(asked);
    other.writeUInt8(99, 5);
    expect(await ask(other)).toBe('F\0\0\0\0');
  });

  it('sends the client to the Node command when the work throws', async () => {
    await serve(() => Promise.reject(new TypeError('broken')));
    expect(await ask(asked)).toBe('F\0\0\0\0');
    expect(errors).toEqual([new TypeError('broken')]);
  });

  it('ends connections that say something else, and no others', async () => {
    await serve(() => Promise.resolve(hello));
    const long = Buffer.alloc(5);
    long.writeUInt8(hotFrame.request, 0);
    long.writeUInt32LE(maxHotRequestBytes + 1, 1);
    const noise = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 73 + 11) % 256));
    for (const bytes of [
      long,
      noise,
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      encodeFrame(0x5a),
      Buffer.concat([asked, asked]),
    ]) {
      expect(await ask(bytes)).toBe('');
    }
    expect(await ask(asked)).toBe(helloBytes);
  });

  it('does not wait for ever for a request', async () => {
    await serve(() => Promise.resolve(hello), 50);
    expect(await ask(asked.subarray(0, asked.length - 1))).toBe('');
  });

  it('tells the work when its client vanishes, and releases what was made for it', async () => {
    const release = vi.fn(() => Promise.resolve());
    let aborted = (): void => undefined;
    const wasAborted = new Promise<void>((resolve) => (aborted = resolve));
    await serve(async (_, signal) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      aborted();
      return attach(release);
    });
    const socket = await connected(asked);
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await wasAborted;
    await vi.waitFor(() => expect(release).toHaveBeenCalledTimes(1));
  });

  it('holds what is made for a client until that goes, and releases it once', async () => {
    const release = vi.fn(() => Promise.resolve());
    await serve(() => Promise.resolve(attach(release)));
    const socket = await connected(asked);
    await once(socket, 'data');
    expect(release).not.toHaveBeenCalled();
    socket.destroy();
    await vi.waitFor(() => expect(release).toHaveBeenCalledTimes(1));
    await server?.close();
    server = undefined;
    expect(release).toHaveBeenCalledTimes(1);
  });

  it('releases all that it holds when it closes, and tells of a release that fails', async () => {
    let released = 0;
    await serve(() =>
      Promise.resolve(
        attach(async () => {
          await new Promise((resolve) => setTimeout(resolve, 30));
          released += 1;
          throw new RangeError('stuck');
        }),
      ),
    );
    const sockets = await Promise.all([connected(asked), connected(asked)]);
    await Promise.all(sockets.map((socket) => once(socket, 'data')));
    await server?.close();
    server = undefined;
    expect(released).toBe(2);
    expect(errors).toEqual([new RangeError('stuck'), new RangeError('stuck')]);
  });
});
