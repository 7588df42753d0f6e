import { beforeEach, describe, expect, test } from 'vitest';
import { createDemand, type Demand } from './demand.ts';

let time = 0;
const demand = (options: Partial<Parameters<typeof createDemand>[0]> = {}): Demand =>
  createDemand({ min: 0, max: 16, targetHitRate: 0.95, idleMs: 60_000, now: () => time, ...options });
beforeEach(() => (time = 0));

/** @param gapMs between each two */
function ask(of: Demand, count: number, gapMs: number): void {
  for (let index = 0; index < count; index += 1) {
    of.asked();
    time += gapMs;
  }
}

describe('how many should wait', () => {
  test('as many as the setting says, when nobody asks', () => {
    expect(demand().target(500)).toBe(0);
    expect(demand({ min: 3 }).target(500)).toBe(3);
  });

  test('one for requests that are far apart', () => {
    const single = demand();
    ask(single, 20, 2000);
    expect(single.target(500)).toBe(1);
  });

  test('enough for a burst of the size that was seen, within the bound', () => {
    for (const [max, target] of [
      [16, 10],
      [4, 4],
    ] as const) {
      const bursts = demand({ max });
      for (let burst = 0; burst < 5; burst += 1) {
        ask(bursts, 10, 0);
        time += 5000;
      }
      expect(bursts.target(500)).toBe(target);
    }
  });

  test('more where a taken one is replaced slowly', () => {
    const steady = demand();
    ask(steady, 40, 100);
    expect(steady.target(50)).toBe(1);
    expect(steady.target(800)).toBe(9);
  });

  test('a lower wanted share leaves out the rare burst', () => {
    const rare = (targetHitRate: number) => {
      const of = demand({ targetHitRate });
      ask(of, 50, 2000);
      ask(of, 8, 0);
      return of.target(500);
    };
    time = 0;
    expect(rare(0.5)).toBe(1);
    time = 0;
    expect(rare(1)).toBe(8);
  });

  test('it forgets what is long ago', () => {
    const idle = demand();
    ask(idle, 8, 0);
    expect(idle.target(500)).toBe(8);
    time += 60_001;
    expect(idle.target(500)).toBe(0);
  });
});
