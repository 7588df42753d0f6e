import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createGarbageGuard } from './garbage-guard.ts';

test('a collection waits for what is held, and holding waits while a collection begins', async () => {
  const guard = createGarbageGuard();
  const told: string[] = [];
  const first = guard.hold();
  await first.begin();
  await first.begin();
  let begun = (): void => undefined;
  let finish = (): void => undefined;
  const collection = guard.collect(async (rootsRead) => {
    told.push('collecting');
    begun = rootsRead;
    await new Promise<void>((resolve) => (finish = resolve));
    told.push('collected');
  });
  // One that only waits keeps nobody from working.
  const second = guard.hold();
  await second.begin();
  first.end();
  first.end();
  await setImmediate();
  expect(told).toEqual([]);
  second.end();
  await setImmediate();
  expect(told).toEqual(['collecting']);

  const third = guard.hold().begin();
  void third.then(() => told.push('held'));
  await setImmediate();
  expect(told).toEqual(['collecting']);
  begun();
  await third;
  finish();
  await collection;
  expect(told).toEqual(['collecting', 'held', 'collected']);
});

test('a wait ends when its work is cancelled, and a collection that fails lets others go on', async () => {
  const guard = createGarbageGuard();
  const hold = guard.hold();
  await hold.begin();
  const controller = new AbortController();
  const waiting = guard.collect(() => Promise.resolve(), controller.signal);
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  hold.end();
  await expect(guard.collect(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await guard.hold().begin();
});

test('tells whether an environment may be about to be given to a berth', async () => {
  const guard = createGarbageGuard();
  expect(guard.inUse).toBe(false);
  await guard.using(() => {
    expect(guard.inUse).toBe(true);
    return Promise.resolve();
  });
  expect(guard.inUse).toBe(false);
});
