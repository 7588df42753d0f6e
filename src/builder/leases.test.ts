import Database from 'libsql';
import { describe, expect, it } from 'vitest';
import { createLeases, type Lease } from './leases.ts';
import { hasEnded, newOwner } from './owner.ts';

function setUp() {
  const database = new Database(':memory:');
  const clock = { now: 0 };
  const gone = new Set<string>();
  const leases = createLeases(database, {
    durationMs: 100,
    now: () => clock.now,
    isOwnerGone: (owner) => gone.has(owner),
  });
  return { leases, clock, gone };
}
const of = (owner: string, buildId = `${owner}-build`): Lease => ({ key: 'k', buildId, owner });

describe('a lease', () => {
  it('is one owner’s, and another is told whose', () => {
    const { leases } = setUp();
    expect(leases.acquire(of('a'))).toEqual(of('a'));
    expect(leases.acquire(of('b'))).toEqual(of('a'));
    expect(leases.acquire(of('a'))).toEqual(of('a'));
    expect(leases.acquire({ ...of('b'), key: 'other' }).owner).toBe('b');
    expect(leases.of('k')).toEqual(of('a'));
  });

  it('of the same owner for another build is still taken', () => {
    const { leases } = setUp();
    leases.acquire(of('a', '1'));
    expect(leases.acquire(of('a', '2')).buildId).toBe('1');
  });

  it('ends when it is released, by its owner alone', () => {
    const { leases } = setUp();
    leases.acquire(of('a'));
    leases.release(of('b'));
    expect(leases.acquire(of('b')).owner).toBe('a');
    leases.release(of('a'));
    expect(leases.acquire(of('b')).owner).toBe('b');
  });

  it('ends without a heartbeat, and its late owner is told that it has lost it', () => {
    const { leases, clock } = setUp();
    leases.acquire(of('a'));
    clock.now = 90;
    expect(leases.renew([of('a')])).toEqual([]);
    clock.now = 180;
    expect(leases.acquire(of('b')).owner).toBe('a');
    clock.now = 190;
    expect(leases.acquire(of('b')).owner).toBe('b');
    expect(leases.renew([of('a')])).toEqual([of('a')]);
    expect(leases.of('k')?.owner).toBe('b');
  });

  it('ends at once with its process', () => {
    const { leases, gone } = setUp();
    leases.acquire(of('a'));
    gone.add('a');
    expect(leases.of('k')).toBeUndefined();
    expect(leases.acquire(of('b')).owner).toBe('b');
  });
});

describe('an owner', () => {
  it('lives with its process, and is no other process of its number', () => {
    const owner = newOwner();
    expect(hasEnded(owner)).toBe(false);
    const parts = JSON.parse(owner) as Record<string, unknown>;
    expect(hasEnded(JSON.stringify({ ...parts, started: '1' }))).toBe(true);
    expect(hasEnded(JSON.stringify({ ...parts, boot: 'before' }))).toBe(true);
    expect(hasEnded(JSON.stringify({ ...parts, pid: 2 ** 22 + 1 }))).toBe(true);
    expect(hasEnded('nonsense')).toBe(true);
  });
});
