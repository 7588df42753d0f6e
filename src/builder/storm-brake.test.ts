import { describe, expect, it } from 'vitest';
import { BerthError } from '../core/errors.ts';
import { createStormBrake, pausedUntil, type BrakePolicy } from './storm-brake.ts';

const policy: BrakePolicy = { free: 2, windowMs: 1000, firstPauseMs: 100, longestPauseMs: 300 };
const report = new BerthError('BUILD_FAILED', 'It failed.').report();

describe('the pause after failures', () => {
  it('is none for the first, then doubles up to the longest', () => {
    expect(pausedUntil([], 10, policy)).toBeUndefined();
    expect(pausedUntil([10], 10, policy)).toBeUndefined();
    expect(pausedUntil([10, 0], 10, policy)).toBe(110);
    expect(pausedUntil([20, 10, 0], 20, policy)).toBe(220);
    expect(pausedUntil([30, 20, 10, 0], 30, policy)).toBe(330);
  });

  it('ends by itself, and failures of long ago do not count', () => {
    expect(pausedUntil([10, 0], 110, policy)).toBeUndefined();
    expect(pausedUntil([1500, 0], 1510, policy)).toBeUndefined();
  });
});

describe('the brake in memory', () => {
  it('says what failed, why, and when it may be tried again; success clears it', () => {
    let time = 0;
    const brake = createStormBrake(policy, () => time);
    brake.failed('k', report);
    brake.check('k', 'The build');
    brake.failed('k', report);
    let thrown: unknown;
    try {
      brake.check('k', 'The build');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({
      code: 'BUILD_THROTTLED',
      retryable: true,
      message: 'The build has failed 2 times in a row. Last: It failed.',
      details: { retryAt: new Date(100).toISOString(), retryAfterMs: 100, failures: 2, last: report },
    });
    brake.check('other', 'The build');
    time = 101;
    brake.check('k', 'The build');
    brake.failed('k', report);
    expect(() => brake.check('k', 'The build')).toThrow('3 times');
    brake.clear('k');
    brake.check('k', 'The build');
  });
});
