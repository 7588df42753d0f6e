import { describe, expect, test } from 'vitest';
import { sleep } from './clock.ts';
import { KeyedMutex } from './keyed-mutex.ts';
import { SingleFlight } from './single-flight.ts';

describe('SingleFlight', () => {
  test('runs the work once for callers of the same time, and again afterwards', async () => {
    const flights = new SingleFlight<string, number>();
    let runs = 0;
    const work = async () => {
      runs += 1;
      await sleep(5);
      return runs;
    };
    const results = await Promise.all([flights.run('a', work), flights.run('a', work), flights.run('b', work)]);
    expect(results.map((result) => result.joined)).toEqual([false, true, false]);
    expect(runs).toBe(2);
    expect((await flights.run('a', work)).joined).toBe(false);
    expect(flights.size).toBe(0);
  });

  test("one caller's abort does not take the result from the others; the last one's aborts the work", async () => {
    const flights = new SingleFlight<string, string>();
    let aborted = false;
    const work = async (signal: AbortSignal) => {
      signal.addEventListener('abort', () => (aborted = true));
      await sleep(20);
      return 'done';
    };
    const first = new AbortController();
    const one = flights.run('a', work, first.signal);
    const two = flights.run('a', work);
    first.abort();
    await expect(one).rejects.toThrow();
    expect(aborted).toBe(false);
    expect((await two).value).toBe('done');

    const last = new AbortController();
    aborted = false;
    const three = flights.run('a', work, last.signal);
    last.abort();
    await expect(three).rejects.toThrow();
    expect(aborted).toBe(true);
  });

  test('a failure reaches all who wait and is not remembered', async () => {
    const flights = new SingleFlight<string, string>();
    const failing = async () => {
      await sleep(1);
      throw new Error('no');
    };
    const results = await Promise.allSettled([flights.run('a', failing), flights.run('a', failing)]);
    expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected']);
    expect((await flights.run('a', () => Promise.resolve('yes'))).value).toBe('yes');
  });
});

test('KeyedMutex keeps the order within a key, and goes on after a failure', async () => {
  const mutex = new KeyedMutex<string>();
  const order: string[] = [];
  const step = (name: string, ms: number) => async () => {
    order.push(`${name}+`);
    await sleep(ms);
    order.push(`${name}-`);
    if (name === 'a') throw new Error('a fails');
  };
  await Promise.allSettled([
    mutex.run('k', step('a', 8)),
    mutex.run('k', step('b', 1)),
    mutex.run('other', step('c', 1)),
  ]);
  expect(order.indexOf('b+')).toBeGreaterThan(order.indexOf('a-'));
  expect(order.indexOf('c-')).toBeLessThan(order.indexOf('a-'));
});
