import { describe, expect, it } from 'vitest';
import { formatEvent } from '../daemon/api/sse.ts';
import { readEvents, type ReceivedEvent } from './sse.ts';

async function read(text: string, size: number): Promise<ReceivedEvent[]> {
  const bytes = Buffer.from(text);
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += size) {
      await Promise.resolve();
      yield bytes.subarray(at, at + size);
    }
  }
  const events: ReceivedEvent[] = [];
  for await (const event of readEvents(chunks())) events.push(event);
  return events;
}

describe('readEvents', () => {
  const text = `: open\n\n${formatEvent({ event: 'event', data: { text: 'ø\nline' }, id: 7 })}${formatEvent({ event: 'result', data: [1] })}`;

  it.each([1, 2, 3, 1000])('reads what formatEvent writes, however it is split (%i bytes)', async (size) => {
    expect(await read(text, size)).toEqual([
      { event: 'event', data: '{"text":"ø\\nline"}', id: '7' },
      { event: 'result', data: '[1]' },
    ]);
  });

  it('reads CRLF, several data lines, and fields without a blank', async () => {
    expect(await read('event:x\r\ndata:a\r\ndata: b\r\n\r\n', 4)).toEqual([{ event: 'x', data: 'a\nb' }]);
  });

  it('leaves out comments and an event that is cut off', async () => {
    expect(await read(': alive\n\ndata: 1\n\ndata: 2\n', 5)).toEqual([{ event: 'message', data: '1' }]);
  });
});
