/** berth-hot against daemons that are not what they should be: it becomes the Node command, unless it has printed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeHotAttach } from '../../src/daemon/hot/protocol.ts';
import { buildIfStale, root } from '../cli/cli-home.ts';

let home: string;
let server: Server | undefined;

beforeAll(() => {
  buildIfStale();
  home = mkdtempSync('/tmp/berth-client-');
  mkdirSync(join(home, 'run'));
  // Stands for Node: shows what it was started with.
  writeFileSync(join(home, 'node'), '#!/bin/sh\nshift\nprintf "node"; printf " <%s>" "$@"; cat; exit 99\n');
  chmodSync(join(home, 'node'), 0o755);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));
afterEach(() => {
  server?.close();
  server = undefined;
});

/** A daemon that gives every request these bytes and closes. */
async function answering(bytes: Uint8Array): Promise<void> {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(bytes));
  });
  server.listen(join(home, 'run/hot.sock'));
  await once(server, 'listening');
}

async function run(args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const env = { PATH: `${home}:/usr/bin:/bin`, BERTH_HOME: home, HOME: home };
  const child = spawn(join(root, 'bin/berth'), args, { cwd: home, env, stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.end('input');
  const [code] = (await once(child, 'close')) as unknown[];
  return { code, stdout, stderr };
}

const frame = (type: string, payload: string): Buffer => {
  const bytes = Buffer.from(`${type}\0\0\0\0${payload}`, 'latin1');
  bytes.writeUInt32LE(payload.length, 1);
  return bytes;
};
const attach = encodeHotAttach({
  agentSocket: '/nowhere/agent.sock',
  request: { argv: ['true'] },
  lost: { text: 'lost', exitCode: 70 },
});

describe('berth-hot', () => {
  const nodes = { code: 99, stdout: 'node <run> <a b> <--> <> <x>input', stderr: '' };
  const args = ['run', 'a b', '--', '', 'x'];

  it('becomes the Node command where nobody listens, with the same arguments and input', async () => {
    expect(await run(args)).toEqual(nodes);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['that it falls back', frame('F', '')],
    ['half a header', Buffer.from('X\x01')],
    ['an exit without a code', frame('X', '')],
    ['an exit that is cut off', Buffer.from('X\x01\0\0\0')],
    ['noise', Buffer.from(Array.from({ length: 3000 }, (_, index) => (index * 151 + 7) % 256))],
    ['an attachment of nothing', frame('A', '')],
    ['an attachment without texts', frame('A', '\x46no end')],
    ['an attachment without a request', frame('A', '\x46lost\0/nowhere/agent.sock\0')],
    ['an attachment that is cut off', attach.subarray(0, attach.length - 3)],
    ['an attachment that is too long', Buffer.from('A\xff\xff\xff\x7f', 'latin1')],
    ['an agent that is not there', attach],
  ])('becomes the Node command when the daemon says %s', async (_, bytes) => {
    await answering(bytes);
    expect(await run(args)).toEqual(nodes);
  });

  it('prints what it is told to, and exits so', async () => {
    await answering(
      Buffer.concat([frame('P', 'out\0'), frame('E', 'err'), frame('P', ''), frame('P', 'more'), frame('X', '\x07')]),
    );
    expect(await run(['ps'])).toEqual({ code: 7, stdout: 'out\0more', stderr: 'err' });
  });

  it('does nothing twice: once it has printed, an answer that is cut off is an error', async () => {
    for (const rest of [Buffer.alloc(0), Buffer.from('P\x09\0\0\0cut'), frame('?', '')]) {
      await answering(Buffer.concat([frame('P', 'out'), rest]));
      const { code, stderr } = await run(['ps']);
      expect([code, stderr]).toEqual([75, 'berth: the daemon went away during its answer\n']);
      server?.close();
    }
  });
});
