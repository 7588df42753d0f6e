import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFairQueue, priorities, type Priority, type QueueEntry } from './fair-queue.ts';

interface Entry extends QueueEntry {
  readonly id: number;
}

const entry = fc.record({
  tenant: fc.constantFrom('a', 'b', 'c', 'd'),
  priority: fc.constantFrom<Priority>(...priorities),
});
const entries = fc.array(entry, { maxLength: 60 }).map((list) => list.map((it, id): Entry => ({ ...it, id })));

function drain(queue: ReturnType<typeof createFairQueue<Entry>>): Entry[] {
  const taken: Entry[] = [];
  for (let next = queue.take(); next; next = queue.take()) taken.push(next);
  return taken;
}

describe('the fair queue', () => {
  it('gives each entry once, those of one tenant and priority in order', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const queue = createFairQueue<Entry>();
        for (const it of list) queue.add(it);
        expect(queue.size).toBe(list.length);
        const taken = drain(queue);
        expect([...taken].sort((a, b) => a.id - b.id)).toEqual(list);
        for (const tenant of ['a', 'b', 'c', 'd']) {
          for (const priority of priorities) {
            const mine = taken.filter((it) => it.tenant === tenant && it.priority === priority).map(({ id }) => id);
            expect(mine).toEqual([...mine].sort((a, b) => a - b));
          }
        }
        expect(queue.size).toBe(0);
      }),
    );
  });

  it('takes higher priorities first, while nothing is late', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const queue = createFairQueue<Entry>({ now: () => 0 });
        for (const it of list) queue.add(it);
        const ranks = drain(queue).map(({ priority }) => priorities.indexOf(priority));
        expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
      }),
    );
  });

  it('lets no tenant that waits be passed by another more than once', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const queue = createFairQueue<Entry>();
        const same = list.map((it): Entry => ({ ...it, priority: 'normal' }));
        for (const it of same) queue.add(it);
        const taken = drain(queue);
        // While both have entries left, their counts differ by one at most.
        const left = new Map<string, number>();
        for (const { tenant } of same) left.set(tenant, (left.get(tenant) ?? 0) + 1);
        const served = new Map<string, number>([...left.keys()].map((tenant) => [tenant, 0]));
        for (const { tenant } of taken) {
          served.set(tenant, (served.get(tenant) ?? 0) + 1);
          left.set(tenant, (left.get(tenant) ?? 0) - 1);
          const waiting = [...served].filter(([name]) => (left.get(name) ?? 0) > 0).map(([, count]) => count);
          if (waiting.length > 1) expect(Math.max(...waiting) - Math.min(...waiting)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it('takes a tenant with one entry after one of another with a thousand', () => {
    const queue = createFairQueue<Entry>();
    for (let id = 0; id < 1000; id += 1) queue.add({ id, tenant: 'many', priority: 'normal' });
    queue.take();
    const mine: Entry = { id: 1000, tenant: 'one', priority: 'normal' };
    queue.add(mine);
    expect(queue.positionOf(mine)).toBeLessThanOrEqual(2);
    const next = [queue.take(), queue.take()];
    expect(next).toContain(mine);
  });

  it('shares by cost: entries that cost three come a third as often', () => {
    const queue = createFairQueue<Entry>();
    for (let id = 0; id < 40; id += 1) {
      queue.add({ id, tenant: 'dear', priority: 'normal', cost: 3 });
      queue.add({ id, tenant: 'cheap', priority: 'normal' });
    }
    const first = Array.from({ length: 40 }, () => queue.take());
    const dear = first.filter((it) => it?.tenant === 'dear').length;
    expect(dear).toBeGreaterThanOrEqual(9);
    expect(dear).toBeLessThanOrEqual(11);
  });

  it('tells the position that then is true', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const queue = createFairQueue<Entry>({ now: () => 0 });
        for (const it of list) queue.add(it);
        const told = new Map(list.map((it) => [it, queue.positionOf(it)]));
        expect(drain(queue).map((it) => told.get(it))).toEqual(list.map((_, index) => index + 1));
        expect(list.map((it) => queue.positionOf(it)).filter((it) => it !== undefined)).toEqual([]);
      }),
    );
  });

  it('loses nothing but what is removed', () => {
    fc.assert(
      fc.property(entries, fc.array(fc.nat(59)), (list, removed) => {
        const queue = createFairQueue<Entry>();
        for (const it of list) queue.add(it);
        const gone = new Set(removed.filter((id) => id < list.length));
        for (const it of list) if (gone.has(it.id)) expect(queue.remove(it)).toBe(true);
        for (const it of list) if (gone.has(it.id)) expect(queue.remove(it)).toBe(false);
        const left = drain(queue).map(({ id }) => id);
        expect(left.sort((a, b) => a - b)).toEqual(list.map(({ id }) => id).filter((id) => !gone.has(id)));
      }),
    );
  });

  it('starves no priority: one that is late gets a share', () => {
    let time = 0;
    const queue = createFairQueue<Entry>({ now: () => time, lateMs: 1000, lateShare: 4 });
    const late: Entry = { id: -1, tenant: 'a', priority: 'background' };
    queue.add(late);
    const taken: (Entry | undefined)[] = [];
    for (let id = 0; id < 20; id += 1) {
      queue.add({ id, tenant: 'b', priority: 'interactive' });
      queue.add({ id: id + 100, tenant: 'b', priority: 'interactive' });
      time += 200;
      taken.push(queue.take());
    }
    const at = taken.indexOf(late);
    expect(at).toBeGreaterThan(3);
    expect(at).toBeLessThan(10);
  });
});
