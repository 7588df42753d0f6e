import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BerthError } from '../core/errors.ts';
import type { BerthEvent } from '../core/events.ts';
import type { Builder, BuildEvent, FunctionJob, JobContext } from './builder.ts';
import { createBuilder, type BuilderOptions } from './create-builder.ts';
import type { Worker } from './worker.ts';

let folder: string;
let database: Database.Database;
const builders: Builder[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-builder-'));
  database = new Database(join(folder, 'state.db'));
});
afterEach(async () => {
  for (const builder of builders.splice(0)) await builder.close();
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

const idle: Worker = { isolation: 'process', number: 1, run: () => Promise.resolve({ paths: [], built: 0 }) };

function open(options: Partial<BuilderOptions> = {}): Builder {
  const builder = createBuilder({
    database,
    workers: [idle],
    directory: join(folder, 'builds'),
    emitter: () => () => undefined,
    backoffMs: 1,
    ...options,
  });
  builders.push(builder);
  return builder;
}

/** Work that waits until it is told how to end. */
function controlled() {
  const started: JobContext[] = [];
  let end: (value: string) => void = () => undefined;
  let fail: (error: unknown) => void = () => undefined;
  const run = (context: JobContext) => {
    started.push(context);
    return new Promise<string>((resolve, reject) => {
      end = resolve;
      fail = reject;
      context.signal.addEventListener('abort', () => reject(context.signal.reason as Error), { once: true });
    });
  };
  return { started, run, end: (value: string) => end(value), fail: (error: unknown) => fail(error) };
}

const job = (key: string, run: FunctionJob<string>['run'], more: Partial<FunctionJob<string>> = {}) => ({
  ...{ key, kind: 'test', title: key, run },
  ...more,
});

function caller() {
  const events: BerthEvent[] = [];
  const controller = new AbortController();
  return {
    events,
    emit: (event: BerthEvent) => events.push(event),
    signal: controller.signal,
    leave: () => controller.abort(new BerthError('CANCELLED', 'gone')),
  };
}

async function collect(events: AsyncIterable<BuildEvent>): Promise<BuildEvent[]> {
  const all: BuildEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe('callers of one key', () => {
  it('share one run, and those who come later are told what was before', async () => {
    const builder = open();
    const work = controlled();
    const [first, second] = [caller(), caller()];
    const one = builder.submit(job('k', work.run), first);
    await expect.poll(() => work.started.length).toBe(1);
    work.started[0]?.emit({ type: 'log', phase: 'build', line: 'early' });
    const two = builder.submit(job('k', work.run), second);
    work.started[0]?.emit({ type: 'log', phase: 'build', line: 'late' });
    work.end('done');
    const results = await Promise.all([one, two]);
    expect(results.map(({ value, joined }) => [value, joined])).toEqual([
      ['done', false],
      ['done', true],
    ]);
    expect(results[0].buildId).toBe(results[1].buildId);
    expect(work.started).toHaveLength(1);
    const plain = (event: BerthEvent) => ({ ...event, joined: undefined });
    expect(second.events.map(plain)).toEqual(first.events.map(plain));
    expect(first.events.map(({ type }) => type)).toEqual(['build.started', 'log', 'log', 'build.finished']);
    expect(second.events.every(({ joined }) => joined)).toBe(true);
  });

  it('of whom one leaves do not notice; the last one ends the work', async () => {
    const builder = open();
    const work = controlled();
    const [first, second] = [caller(), caller()];
    const one = builder.submit(job('k', work.run), first);
    const two = builder.submit(job('k', work.run), second);
    await expect.poll(() => work.started.length).toBe(1);
    first.leave();
    await expect(one).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(work.started[0]?.signal.aborted).toBe(false);
    second.leave();
    await expect(two).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(work.started[0]?.signal.aborted).toBe(true);
    await expect.poll(() => builder.list()[0]?.state).toBe('cancelled');
  });

  it('that come after the last has left start anew, when the old work has ended', async () => {
    const builder = open();
    const work = controlled();
    const first = caller();
    const one = builder.submit(job('k', work.run), first);
    await expect.poll(() => work.started.length).toBe(1);
    first.leave();
    await expect(one).rejects.toMatchObject({ code: 'CANCELLED' });
    const two = builder.submit(job('k', work.run), caller());
    await expect.poll(() => work.started.length).toBe(2);
    work.end('second');
    expect((await two).value).toBe('second');
  });

  it('do nothing where it was done meanwhile', async () => {
    const builder = open();
    const result = await builder.submit(job('k', controlled().run, { done: () => 'there' }), caller());
    expect(result).toEqual({ value: 'there', buildId: null, joined: true });
    expect(builder.list()).toEqual([]);
  });
});

describe('a build', () => {
  it('has a record, a log, and events that can be read from the start when it has ended', async () => {
    const builder = open();
    const work = (context: JobContext) => {
      context.log('a line');
      return Promise.resolve('done');
    };
    const { buildId } = await builder.submit(job('k', work, { tenant: 'ada', priority: 'background' }), caller());
    const id = buildId ?? '';
    expect(builder.get(id)).toMatchObject({
      id,
      key: 'k',
      kind: 'test',
      tenant: 'ada',
      state: 'succeeded',
      attempts: 1,
    });
    const events = await collect(builder.events(id));
    expect(events.map(({ seq, event }) => [seq, event.type])).toEqual([
      [1, 'build.started'],
      [2, 'log'],
      [3, 'build.finished'],
    ]);
    expect((await collect(builder.events(id, { after: 2 }))).map(({ seq }) => seq)).toEqual([3]);
    const log: Uint8Array[] = [];
    for await (const chunk of builder.log(id, { follow: true })) log.push(chunk);
    expect(Buffer.concat(log).toString()).toBe('a line\n');
    expect(() => builder.get('nothing')).toThrow('no build');
  });

  it('waits for its slot, and is told its place', async () => {
    const builder = open();
    const [work, next] = [controlled(), controlled()];
    const second = caller();
    const one = builder.submit(job('a', work.run), caller());
    const two = builder.submit(job('b', next.run), second);
    await expect.poll(() => second.events.length).toBe(1);
    expect(second.events[0]).toMatchObject({ type: 'build.queued', position: 1 });
    expect(builder.statistics()).toMatchObject({ queued: 1, running: 1 });
    expect(builder.list({ active: true }).map(({ state, position }) => [state, position])).toEqual([
      ['queued', 1],
      ['running', null],
    ]);
    work.end('');
    await one;
    await expect.poll(() => next.started.length).toBe(1);
    next.end('');
    await two;
  });

  it('that is cancelled ends for all', async () => {
    const builder = open();
    const work = controlled();
    const both = [1, 2].map(() => builder.submit(job('k', work.run), caller()));
    await expect.poll(() => work.started.length).toBe(1);
    builder.cancel(work.started[0]?.buildId ?? '');
    for (const one of both) await expect(one).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect.poll(() => builder.list()[0]?.state).toBe('cancelled');
  });

  it('that takes too long is ended', async () => {
    const builder = open();
    const slow = builder.submit(job('k', controlled().run, { timeoutMs: 20 }), caller());
    await expect(slow).rejects.toMatchObject({ code: 'BUILD_TIMEOUT' });
    expect(builder.list()[0]).toMatchObject({ state: 'failed', error: { code: 'BUILD_TIMEOUT' } });
  });
});

describe('a failure', () => {
  const failing = (code: 'WORKER_DIED' | 'BUILD_FAILED') => {
    let runs = 0;
    return { run: () => Promise.reject(new BerthError(code, `${code} ${(runs += 1)}`)), runs: () => runs };
  };

  it('of the system is tried again, a few times', async () => {
    const builder = open();
    const { run, runs } = failing('WORKER_DIED');
    const told = caller();
    await expect(builder.submit(job('k', run), told)).rejects.toMatchObject({ code: 'WORKER_DIED' });
    expect(runs()).toBe(3);
    expect(told.events.filter(({ type }) => type === 'build.retried')).toHaveLength(2);
    // It says nothing about the config, which is let through.
    await expect(builder.submit(job('k', run), caller())).rejects.toMatchObject({ code: 'WORKER_DIED' });
  });

  it('of the config is not tried again, and a storm of it is slowed down until it is forced or succeeds', async () => {
    const clock = { now: 1_000_000 };
    const builder = open({ now: () => clock.now });
    const { run, runs } = failing('BUILD_FAILED');
    const again = (more = {}) => builder.submit(job('k', run, more), caller());
    for (let count = 0; count < 3; count += 1) await expect(again()).rejects.toMatchObject({ code: 'BUILD_FAILED' });
    expect(runs()).toBe(3);
    await expect(again()).rejects.toMatchObject({ code: 'BUILD_THROTTLED', details: { retryAfterMs: 5000 } });
    expect(runs()).toBe(3);
    // Another key is another config.
    const other = builder.submit(
      job('k2', () => Promise.resolve('fine')),
      caller(),
    );
    expect((await other).value).toBe('fine');
    await expect(again({ force: true })).rejects.toMatchObject({ code: 'BUILD_FAILED' });
    clock.now += 10_001;
    await builder.submit(
      job('k', () => Promise.resolve('mended')),
      caller(),
    );
    await expect(again()).rejects.toMatchObject({ code: 'BUILD_FAILED' });
  });

  it('is remembered by the next daemon', async () => {
    const { run } = failing('BUILD_FAILED');
    for (let count = 0; count < 3; count += 1)
      await open()
        .submit(job('k', run), caller())
        .catch(() => undefined);
    await expect(open().submit(job('k', run), caller())).rejects.toMatchObject({ code: 'BUILD_THROTTLED' });
  });
});

describe('two builders over one database', () => {
  it('do a key once: the second joins by the lease, with all events', async () => {
    const [here, there] = [open(), open()];
    const work = controlled();
    const second = caller();
    const one = here.submit(job('k', work.run), caller());
    await expect.poll(() => work.started.length).toBe(1);
    work.started[0]?.emit({ type: 'log', phase: 'build', line: 'early' });
    const other = controlled();
    const two = there.submit(job('k', other.run), second);
    await expect.poll(() => second.events.map(({ type }) => type)).toContain('log');
    work.end('once');
    expect((await one).value).toBe('once');
    expect((await two).value).toBe('once');
    expect(other.started).toHaveLength(0);
    expect(second.events.map(({ type }) => type)).toEqual(['build.started', 'log', 'build.finished']);
  });

  it('take over from one whose lease ran out', async () => {
    const [dead, alive] = [open({ leaseMs: 200, heartbeatMs: 100_000 }), open({ leaseMs: 200 })];
    const [work, other] = [controlled(), controlled()];
    const one = dead.submit(job('k', work.run), caller());
    await expect.poll(() => work.started.length).toBe(1);
    const two = alive.submit(job('k', other.run), caller());
    await expect.poll(() => other.started.length, { timeout: 5000 }).toBe(1);
    other.end('taken over');
    expect((await two).value).toBe('taken over');
    work.end('late');
    await one;
  });
});

describe('a builder that is closed in the middle', () => {
  it('leaves its builds to the next, which takes them up with their ids', async () => {
    const first = open();
    const work = controlled();
    const one = first.submit(job('k', work.run, { resume: { key: 'k' } }), caller());
    await expect.poll(() => work.started.length).toBe(1);
    const id = work.started[0]?.buildId ?? '';
    await first.close();
    await expect(one).rejects.toMatchObject({ code: 'CANCELLED' });

    const second = open();
    const again = controlled();
    second.resumable('test', (kept) => job((kept as { key: string }).key, again.run));
    expect(second.takeUp()).toEqual([id]);
    const asked = second.submit(job('k', work.run), caller());
    await expect.poll(() => again.started.length).toBe(1);
    // It goes on without anybody, since it was begun without anybody.
    again.end('at last');
    expect(await asked).toEqual({ value: 'at last', buildId: id, joined: true });
    expect(second.get(id)).toMatchObject({ state: 'succeeded', attempts: 2 });
    const types = (await collect(second.events(id))).map(({ event }) => event.type);
    expect(types).toEqual(['build.started', 'build.started', 'build.finished']);
  });

  it('does not leave what cannot be made again', async () => {
    const first = open();
    const work = controlled();
    const one = first.submit(job('k', work.run), caller());
    await expect.poll(() => work.started.length).toBe(1);
    await first.close();
    await one.catch(() => undefined);
    const second = open();
    expect(second.takeUp()).toEqual([]);
    expect(second.list()[0]).toMatchObject({ state: 'cancelled' });
  });
});
