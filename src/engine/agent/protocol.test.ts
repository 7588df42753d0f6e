import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createFrameDecoder,
  encodeFrame,
  encodeRunRequest,
  frame,
  isSendable,
  maxRequestBytes,
  ProtocolViolation,
  runFlag,
} from './protocol.ts';

describe('frames', () => {
  test('come out as they went in, however the bytes are cut', () => {
    const frames = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 40 })));
    fc.assert(
      fc.property(frames, fc.infiniteStream(fc.integer({ min: 1, max: 17 })), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(([type, payload]) => encodeFrame(type, payload)));
        const decode = createFrameDecoder(64);
        const got: [number, Buffer][] = [];
        for (let at = 0; at < bytes.length;) {
          const size = cuts.next().value as number;
          for (const { type, payload } of decode(bytes.subarray(at, at + size))) got.push([type, payload]);
          at += size;
        }
        expect(got).toEqual(sent.map(([type, payload]) => [type, Buffer.from(payload)]));
      }),
    );
  });

  test('longer than allowed are refused before they have come', () => {
    const decode = createFrameDecoder(100);
    expect(() => decode(encodeFrame(frame.stdout, Buffer.alloc(101)).subarray(0, 5))).toThrow(ProtocolViolation);
  });
});

describe('run requests', () => {
  test('hold the fixed part and the texts, as native/src/protocol.h has them', () => {
    const bytes = encodeRunRequest({
      argv: ['ls', 'ä'],
      cwd: '/tmp',
      variables: { A: '1' },
      tty: { columns: 80, rows: 24 },
      hook: true,
      user: { uid: 1000, gid: 100 },
      graceMs: 500,
    });
    expect(bytes.subarray(0, 24).toString('hex')).toBe(
      ['01', '00', '0d00', '5000', '1800', 'e8030000', '64000000', 'f4010000', '0200', '0100'].join(''),
    );
    expect(bytes.subarray(24).toString('utf8')).toBe('/tmp\0ls\0ä\0A=1\0');
  });

  test('have the environment unless told otherwise, and keep the agent as user', () => {
    const bytes = encodeRunRequest({ argv: [] });
    expect(bytes.readUInt16LE(2)).toBe(runFlag.environment);
    expect(bytes.readUInt32LE(8)).toBe(0xffffffff);
    expect(encodeRunRequest({ argv: [], environment: false }).readUInt16LE(2)).toBe(0);
  });

  test('that the agent would not take are known before they are sent', () => {
    expect(isSendable({ argv: ['true'] })).toBe(true);
    expect(isSendable({ argv: ['a\0b'] })).toBe(false);
    expect(isSendable({ argv: ['x'.repeat(maxRequestBytes)] })).toBe(false);
    expect(isSendable({ argv: Array.from({ length: 9000 }, () => 'x') })).toBe(false);
  });
});
