import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../engine/agent/protocol.ts';
import {
  decodeHotRequest,
  encodeHotAttach,
  encodeHotFallBack,
  encodeHotOutput,
  hotVersion,
  type HotRequest,
} from './protocol.ts';
import { encodeHotRequest } from './request-for-tests.ts';

const request: HotRequest = {
  build: '0123456789abcdef',
  cwd: '/home/ada/a b',
  args: ['run', '.', '--', 'sh', '-c', '', 'ü'],
  terminals: { stdin: true, stdout: false, stderr: true },
  columns: 120,
  rows: 40,
  env: { HOME: '/home/ada', BERTH_EMPTY: '', BERTH_EQUALS: 'a=b', BERTH_LINES: 'a\nb' },
};

describe('decodeHotRequest', () => {
  it('reads what berth-hot writes', () => expect(decodeHotRequest(encodeHotRequest(request))).toEqual(request));

  it('takes nothing that is cut off anywhere', () => {
    const whole = encodeHotRequest(request);
    for (let length = 0; length < whole.length; length += 1) {
      expect(decodeHotRequest(whole.subarray(0, length)), `${length} bytes`).toBeUndefined();
    }
  });

  it('takes nothing with more behind it', () => {
    expect(decodeHotRequest(Buffer.concat([encodeHotRequest(request), Buffer.from('more\0')]))).toBeUndefined();
    expect(decodeHotRequest(Buffer.concat([encodeHotRequest(request), Buffer.from('x')]))).toBeUndefined();
  });

  it('takes no other version and no relative folder', () => {
    const other = encodeHotRequest(request);
    other.writeUInt8(hotVersion + 1, 0);
    expect(decodeHotRequest(other)).toBeUndefined();
    expect(decodeHotRequest(encodeHotRequest({ ...request, cwd: 'here' }))).toBeUndefined();
  });

  it('throws for no bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const payload = Buffer.from(bytes);
        if (payload.length > 0) payload.writeUInt8(hotVersion, 0);
        decodeHotRequest(payload);
      }),
    );
  });
});

describe('answers', () => {
  it('are frames', () => {
    expect(encodeHotFallBack()).toEqual(Buffer.from('F\0\0\0\0'));
    expect(encodeHotOutput({ stdout: 'ü', exitCode: 7 })).toEqual(
      Buffer.concat([Buffer.from('P\x02\0\0\0ü'), Buffer.from('X\x01\0\0\0\x07')]),
    );
    expect(encodeHotOutput({ stderr: 'e', exitCode: 0 })).toEqual(
      Buffer.concat([Buffer.from('E\x01\0\0\0e'), Buffer.from('X\x01\0\0\0\0')]),
    );
  });

  it('name the agent and what it is to run', () => {
    const bytes = encodeHotAttach({
      agentSocket: '/s',
      request: { argv: ['true'] },
      lost: { text: 'gone\n', exitCode: 70 },
    });
    const head = Buffer.from('\x46gone\n\0/s\0', 'latin1');
    expect(bytes.subarray(5, 5 + head.length)).toEqual(head);
    expect(bytes.subarray(0, 5)).toEqual(encodeFrame(0x41, bytes.subarray(5)).subarray(0, 5));
    // The agent's header of 24 bytes, an empty folder, and the one argument.
    expect(bytes.subarray(5 + head.length).length).toBe(24 + 1 + 5);
  });
});
