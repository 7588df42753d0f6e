import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterAll, describe, expect, it } from 'vitest';
import { createBuilder } from '../../builder/create-builder.ts';
import { BerthError } from '../../core/errors.ts';
import { EventBus, type PublishedEvent } from '../../core/events.ts';
import { build } from '../../core/version.ts';
import { readEvents, type ReceivedEvent } from '../../client/sse.ts';
import type { ImageService } from '../../environment/images.ts';
import type { StorageService } from '../../environment/storage.ts';
import { createActivity } from '../activity.ts';
import { createEventHistory } from '../event-history.ts';
import { buildHeader, outdatedHeader, settingsHeader } from '../handshake.ts';
import { createMetrics } from '../metrics.ts';
import { createApi } from './api.ts';
import { createFakeService, exampleBerth, exampleUp } from './fake-service.ts';

interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const buildsFolder = mkdtempSync(join(tmpdir(), 'berth-api-builds-'));
afterAll(() => rmSync(buildsFolder, { recursive: true, force: true }));

function setUp({ managed = true } = {}) {
  const bus = new EventBus(() => 1000);
  const events: PublishedEvent[] = [];
  bus.subscribe((event) => events.push(event));
  const activity = createActivity();
  const service = createFakeService();
  const builder = createBuilder({
    database: new Database(':memory:'),
    workers: [{ isolation: 'process', number: 1, run: () => Promise.resolve({ paths: [], built: 0 }) }],
    directory: buildsFolder,
    emitter: () => () => undefined,
  });
  const stops: string[] = [];
  const logged: BerthError[] = [];
  let stopping = false;
  const api = createApi({
    service,
    storage: {} as StorageService,
    builder,
    images: {} as ImageService,
    keptImages: {} as never,
    bus,
    activity,
    history: createEventHistory(bus, 3),
    metrics: createMetrics(bus, activity),
    onError: (error) => logged.push(error),
    daemon: {
      home: '/b',
      startedAt: '2026-11-24T12:00:00.000Z',
      managed,
      settingsDigest: 'sha256:own',
      stopping: () => stopping,
      stopWhenIdle: (reason) => stops.push(reason),
      stopNowIfIdle(reason) {
        if (activity.inFlight > 0) return false;
        stops.push(reason);
        stopping = true;
        return true;
      },
    },
  });
  const request = async (method: string, path: string, body?: unknown, options: RequestOptions = {}) =>
    api.fetch(
      new Request(`http://localhost${path}`, {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(options.signal ? { signal: options.signal } : {}),
      }),
    );
  return { api, request, service, builder, events, activity, stops, logged, bus };
}

/** How often each kind of event fired. */
function counts(events: readonly PublishedEvent[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (const { type } of events) result[type] = (result[type] ?? 0) + 1;
  return result;
}

async function eventsOf(response: Response): Promise<ReceivedEvent[]> {
  const all: ReceivedEvent[] = [];
  for await (const event of readEvents(response.body as unknown as AsyncIterable<Uint8Array>)) all.push(event);
  return all;
}

const acceptEvents = { headers: { accept: 'text/event-stream' } };

interface Scenario {
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  /** A part of the answer. */
  readonly answer: object;
  readonly calls: [string, unknown][];
  readonly events: Record<string, number>;
}

const finished = { 'request.finished': 1 };

const scenarios: Scenario[] = [
  {
    what: 'up',
    method: 'POST',
    path: '/v1/berths',
    body: { path: '/p', name: 'web', limits: { memoryBytes: null }, ports: [{ host: 8080, container: 80 }] },
    status: 200,
    answer: exampleUp,
    calls: [['up', { path: '/p', name: 'web', limits: { memoryBytes: null }, ports: [{ host: 8080, container: 80 }] }]],
    events: { 'phase.started': 1, 'phase.finished': 1, ...finished },
  },
  {
    what: 'a path that is not absolute',
    method: 'POST',
    path: '/v1/berths',
    body: { path: 'p' },
    status: 400,
    answer: {
      error: { code: 'REQUEST_INVALID', message: 'The request is not valid: path: must be an absolute path.' },
    },
    calls: [],
    events: {},
  },
  {
    what: 'an unknown field',
    method: 'POST',
    path: '/v1/berths',
    body: { path: '/p', nmae: 'web' },
    status: 400,
    answer: { error: { code: 'REQUEST_INVALID', message: expect.stringContaining('nmae') as string } },
    calls: [],
    events: {},
  },
  {
    what: 'a field of a nested object that is unknown',
    method: 'POST',
    path: '/v1/berths',
    body: { path: '/p', limits: { memory: 1 } },
    status: 400,
    answer: { error: { code: 'REQUEST_INVALID' } },
    calls: [],
    events: {},
  },
  {
    what: 'listing',
    method: 'GET',
    path: '/v1/berths',
    status: 200,
    answer: { berths: [exampleBerth] },
    calls: [['list', undefined]],
    events: finished,
  },
  {
    what: 'a berth that is not there',
    method: 'GET',
    path: '/v1/berths/gone',
    status: 404,
    answer: { error: { code: 'BERTH_UNKNOWN', fault: 'user', retryable: false } },
    calls: [['get', 'gone']],
    events: { failed: 1, ...finished },
  },
  {
    what: 'stopping with the default grace time',
    method: 'POST',
    path: '/v1/berths/web/stop',
    body: {},
    status: 200,
    answer: { done: true },
    calls: [['stop', 'web']],
    events: finished,
  },
  {
    what: 'starting',
    method: 'POST',
    path: '/v1/berths/web/start',
    status: 200,
    answer: exampleBerth,
    calls: [['start', 'web']],
    events: finished,
  },
  {
    what: 'removing',
    method: 'DELETE',
    path: '/v1/berths/web',
    status: 200,
    answer: { done: true },
    calls: [['remove', 'web']],
    events: finished,
  },
  {
    what: 'an environment',
    method: 'POST',
    path: '/v1/environments',
    body: { path: '/p', passEnv: { STAGE: 'x' } },
    status: 200,
    answer: { environment: { variables: { PATH: '/bin' } } },
    calls: [['environment', { path: '/p', passEnv: { STAGE: 'x' } }]],
    events: finished,
  },
  {
    what: 'explaining',
    method: 'POST',
    path: '/v1/explain',
    body: { path: '/p' },
    status: 200,
    answer: { configFile: '/p/config.nix', stages: [] },
    calls: [['explain', { path: '/p' }]],
    events: finished,
  },
  {
    what: 'locking',
    method: 'POST',
    path: '/v1/locks',
    body: { path: '/p', update: [] },
    status: 200,
    answer: { lockFile: '/p/berth.lock' },
    calls: [['lock', '/p']],
    events: finished,
  },
  {
    what: 'searching',
    method: 'GET',
    path: '/v1/packages/search?query=jq&path=/p&limit=3',
    status: 200,
    answer: { packages: [{ name: 'jq' }] },
    calls: [['search', '/p']],
    events: finished,
  },
  {
    what: 'a search with an unknown parameter',
    method: 'GET',
    path: '/v1/packages/search?query=jq&limt=3',
    status: 400,
    answer: { error: { code: 'REQUEST_INVALID' } },
    calls: [],
    events: {},
  },
  {
    what: 'adding packages',
    method: 'POST',
    path: '/v1/packages/add',
    body: { path: '/p', names: ['jq'] },
    status: 200,
    answer: { file: '/p/config.nix', names: ['jq'] },
    calls: [['addPackages', '/p']],
    events: finished,
  },
  {
    what: 'removing packages',
    method: 'POST',
    path: '/v1/packages/remove',
    body: { path: '/p', names: ['jq'] },
    status: 200,
    answer: { names: ['jq'] },
    calls: [['removePackages', '/p']],
    events: finished,
  },
  {
    what: 'adding nothing',
    method: 'POST',
    path: '/v1/packages/add',
    body: { path: '/p', names: [] },
    status: 400,
    answer: { error: { code: 'REQUEST_INVALID' } },
    calls: [],
    events: {},
  },
  {
    what: 'the daemon itself',
    method: 'GET',
    path: '/v1/daemon',
    status: 200,
    answer: { managed: true, home: '/b', inFlight: 0, build },
    calls: [],
    events: finished,
  },
  {
    what: 'a path that is not there',
    method: 'GET',
    path: '/v1/nothing',
    status: 404,
    answer: { error: { code: 'REQUEST_INVALID', message: 'There is nothing at GET /v1/nothing.' } },
    calls: [],
    events: {},
  },
  { what: 'health', method: 'GET', path: '/healthz', status: 200, answer: { status: 'ok' }, calls: [], events: {} },
  { what: 'readiness', method: 'GET', path: '/readyz', status: 200, answer: { status: 'ok' }, calls: [], events: {} },
];

describe('the API', () => {
  it.each(scenarios)('answers $what ($method $path)', async (scenario) => {
    const { request, service, events, activity } = setUp();
    const response = await request(scenario.method, scenario.path, scenario.body);
    expect(await response.json()).toMatchObject(scenario.answer);
    expect(response.status).toBe(scenario.status);
    expect(service.calls).toEqual(scenario.calls);
    expect(counts(events)).toEqual(scenario.events);
    expect(activity.inFlight).toBe(0);
  });

  it('refuses a body that is not JSON', async () => {
    const { api } = setUp();
    const headers = { 'content-type': 'application/json' };
    const response = await api.fetch(new Request('http://localhost/v1/berths', { method: 'POST', body: '{', headers }));
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'REQUEST_INVALID' } });
  });

  it('keeps an unexpected error inside and logs its cause', async () => {
    const { request, service, logged } = setUp();
    service.override.list = () => Promise.reject(new TypeError('x is not a function'));
    const response = await request('GET', '/v1/berths');
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).toContain('INTERNAL');
    expect(text).not.toContain('api.test.ts');
    expect(logged[0]?.cause).toBeInstanceOf(TypeError);
  });

  it('says by the status whose fault an error is', async () => {
    const { request, service } = setUp();
    service.override.up = () => Promise.reject(new BerthError('MIRROR_UNREACHABLE', 'It does not answer.'));
    expect((await request('POST', '/v1/berths', { path: '/p' })).status).toBe(502);
    service.override.up = () => Promise.reject(new BerthError('NAME_TAKEN', 'Another has it.'));
    expect((await request('POST', '/v1/berths', { path: '/p' })).status).toBe(409);
  });

  it("streams a berth's log, and refuses that of one that is not there", async () => {
    const { request, activity } = setUp();
    const response = await request('GET', '/v1/berths/web/logs');
    expect(await response.text()).toBe('hello\n');
    expect(activity.inFlight).toBe(0);
    const missing = await request('GET', '/v1/berths/gone/logs');
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: 'BERTH_UNKNOWN' } });
  });
});

describe('long work as an event stream', () => {
  it('sends its events, then the result', async () => {
    const { request } = setUp();
    const events = await eventsOf(await request('POST', '/v1/berths', { path: '/p' }, acceptEvents));
    expect(events.map((event) => event.event)).toEqual(['event', 'event', 'result']);
    expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({ type: 'phase.started', phase: 'evaluate', at: 1000 });
    expect(JSON.parse(events[2]?.data ?? '')).toEqual(exampleUp);
  });

  it('sends an error as the last event', async () => {
    const { request, service, events } = setUp();
    service.override.up = () => Promise.reject(new BerthError('MIRROR_UNREACHABLE', 'It does not answer.'));
    const received = await eventsOf(await request('POST', '/v1/berths', { path: '/p' }, acceptEvents));
    expect(received.at(-1)?.event).toBe('error');
    expect(JSON.parse(received.at(-1)?.data ?? '')).toMatchObject({ code: 'MIRROR_UNREACHABLE', retryable: true });
    expect(events.at(-1)).toMatchObject({ type: 'request.finished', operation: 'up', status: 502 });
  });

  it('does not send the events of other work', async () => {
    const { request, service, bus } = setUp();
    service.override.up = () => {
      bus.emitter('other')({ type: 'warning', message: 'Not yours.' });
      return Promise.resolve(exampleUp);
    };
    const received = await eventsOf(await request('POST', '/v1/berths', { path: '/p' }, acceptEvents));
    expect(received.map((event) => event.event)).toEqual(['result']);
  });

  it.each([
    ['of events', acceptEvents],
    ['for JSON', {}],
  ])('cancels the work when the client of a request %s goes', async (_, init) => {
    const { request, service, activity, events } = setUp();
    const client = new AbortController();
    const started = deferred();
    service.override.up = (_request, { signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error));
        started.resolve(undefined);
      });
    const response = request('POST', '/v1/berths', { path: '/p' }, { ...init, signal: client.signal });
    await started.promise;
    client.abort();
    await response.catch(() => undefined);
    await activity.whenIdle();
    expect(events.at(-1)).toMatchObject({ type: 'request.finished', status: 499 });
    expect(events.at(-2)).toMatchObject({ type: 'failed', error: { code: 'CANCELLED' } });
  });
});

describe('a berth for one command', () => {
  it('lives as long as the client holds its stream', async () => {
    const { request, service, activity } = setUp();
    const client = new AbortController();
    const response = await request('POST', '/v1/runs', { path: '/p' }, { ...acceptEvents, signal: client.signal });
    const events = readEvents(response.body as unknown as AsyncIterable<Uint8Array>);
    expect((await events.next()).value).toMatchObject({ event: 'result' });
    expect(activity.inFlight).toBe(1);
    expect(service.calls.map(([verb]) => verb)).toEqual(['run']);
    client.abort();
    await activity.whenIdle();
    expect(service.calls).toContainEqual(['remove', 'run1']);
  });

  it('is left to the client that asked for JSON', async () => {
    const { request, service } = setUp();
    expect(await (await request('POST', '/v1/runs', { path: '/p' })).json()).toMatchObject({ id: 'run1' });
    expect(service.calls.map(([verb]) => verb)).toEqual(['run']);
  });
});

describe('GET /v1/events', () => {
  it('sends what the client missed, as far as it is kept, then what comes, and ends with the daemon', async () => {
    const { request, bus } = setUp();
    const emit = bus.emitter('x');
    for (const message of ['1', '2', '3', '4', '5']) emit({ type: 'warning', message });
    const response = await request('GET', '/v1/events', undefined, { headers: { 'last-event-id': '1' } });
    emit({ type: 'warning', message: '6' });
    emit({ type: 'daemon.stopping', reason: 'test' });
    const received = await eventsOf(response);
    expect(received.map((event) => event.id)).toEqual(['3', '4', '5', '6', '7']);
    expect(JSON.parse(received[0]?.data ?? '')).toMatchObject({ message: '3', subject: 'x' });
  });

  it('sends only what comes without a last id', async () => {
    const { request, bus } = setUp();
    bus.emitter('x')({ type: 'warning', message: 'before' });
    const response = await request('GET', '/v1/events');
    bus.emitter('x')({ type: 'daemon.stopping', reason: 'test' });
    expect((await eventsOf(response)).map((event) => event.id)).toEqual(['2']);
  });
});

describe('the handshake', () => {
  const same = { headers: { [buildHeader]: build, [settingsHeader]: 'sha256:own' } };
  const other = { headers: { [buildHeader]: build, [settingsHeader]: 'sha256:other' } };

  it('lets the same build and settings pass', async () => {
    const { request, stops } = setUp();
    const response = await request('GET', '/v1/berths', undefined, same);
    expect([response.status, response.headers.get(outdatedHeader), stops]).toEqual([200, null, []]);
  });

  it('makes a daemon that a command has started leave when it differs and has no work', async () => {
    const { request, stops, service } = setUp();
    const response = await request('GET', '/v1/berths', undefined, other);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error: { code: 'DAEMON_RESTARTING', retryable: true } });
    expect(stops).toEqual(['a command has other settings']);
    expect(service.calls).toEqual([]);
    expect((await request('GET', '/readyz')).status).toBe(503);
    expect((await request('GET', '/v1/berths', undefined, same)).status).toBe(503);
  });

  it.each([
    ['has work', { managed: true, busy: true }],
    ['was started on purpose', { managed: false, busy: false }],
  ])('only tells the client when a daemon that differs %s', async (_, { managed, busy }) => {
    const { request, stops, activity } = setUp({ managed });
    if (busy) activity.begin();
    const response = await request('GET', '/v1/berths', undefined, other);
    expect([response.status, response.headers.get(outdatedHeader), stops]).toEqual([200, 'settings', []]);
  });
});

describe('GET /metrics', () => {
  it('counts what the events told', async () => {
    const { request, bus } = setUp();
    await request('POST', '/v1/berths', { path: '/p' });
    await request('GET', '/v1/berths/gone');
    bus.emitter('x')({ type: 'berth.state', id: '1', name: 'web', state: 'running' });
    const response = await request('GET', '/metrics');
    const text = await response.text();
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(text).toContain('berth_phase_duration_seconds_count{phase="evaluate",cache="miss"} 1');
    expect(text).toContain('berth_request_duration_seconds_count{operation="up",status="200"} 1');
    expect(text).toContain('berth_failures_total{code="BERTH_UNKNOWN",fault="user"} 1');
    expect(text).toContain('berth_state_changes_total{state="running"} 1');
    expect(text).toContain('berth_work_in_flight 0');
  });
});

function deferred() {
  let resolve: (value: unknown) => void = () => undefined;
  const promise = new Promise((resolvePromise) => {
    resolve = resolvePromise;
  });
  return { promise, resolve };
}

describe('builds', () => {
  it('are listed, told with their events from the start and their log, and cancelled', async () => {
    const { request, builder } = setUp();
    const waiting = (context: { log(line: string): void; signal: AbortSignal }) => {
      context.log('begun');
      return new Promise<string>((_, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason as Error));
      });
    };
    const work = builder.submit({ kind: 'test', key: 'k', title: 'k-1.0', run: waiting }, { emit: () => undefined });
    const failed = work.catch((error: unknown) => error);
    await expect.poll(() => builder.statistics().running).toBe(1);
    const { builds } = (await (await request('GET', '/v1/builds?active=true')).json()) as { builds: { id: string }[] };
    expect(builds).toMatchObject([{ key: 'k', title: 'k-1.0', state: 'running', callers: 1, tenant: 'local' }]);
    const id = builds[0]?.id ?? '';
    const events = await request('GET', `/v1/builds/${id}/events`);
    expect((await request('DELETE', `/v1/builds/${id}`)).status).toBe(200);
    expect(await failed).toMatchObject({ code: 'CANCELLED' });
    const text = await events.text();
    expect([...text.matchAll(/"type":"([^"]+)"/g)].map(([, type]) => type)).toEqual([
      'build.started',
      'log',
      'build.finished',
    ]);
    const later = await request('GET', `/v1/builds/${id}/events`, undefined, { headers: { 'last-event-id': '2' } });
    expect([...(await later.text()).matchAll(/^id: (\d+)/gm)].map(([, seq]) => seq)).toEqual(['3']);
    expect(await (await request('GET', `/v1/builds/${id}/log?follow=true`)).text()).toBe('begun\n');
    expect(await (await request('GET', `/v1/builds/${id}`)).json()).toMatchObject({ state: 'cancelled' });
  });

  it('that there are none of are 404', async () => {
    const { request } = setUp();
    for (const path of ['/v1/builds/x', '/v1/builds/x/events', '/v1/builds/x/log']) {
      expect((await request('GET', path)).status).toBe(404);
    }
    expect((await request('DELETE', '/v1/builds/x')).status).toBe(404);
  });
});
