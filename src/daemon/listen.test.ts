import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClient } from '../client/client.ts';
import { socketTransport } from '../client/transport.ts';
import { BerthError } from '../core/errors.ts';
import { EventBus } from '../core/events.ts';
import { createActivity } from './activity.ts';
import { createApi } from './api/api.ts';
import { createFakeService, exampleBerth, exampleUp } from './api/fake-service.ts';
import { authenticated } from './authentication.ts';
import { createEventHistory } from './event-history.ts';
import { listenOnSocket, listenOnTcp, parseAddress, type Listener } from './listen.ts';
import { createMetrics } from './metrics.ts';

let folder: string;
const open: Listener[] = [];
beforeEach(() => {
  folder = mkdtempSync('/tmp/berth-listen-');
});
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.close(0);
  rmSync(folder, { recursive: true });
});

function setUp() {
  const bus = new EventBus();
  const activity = createActivity();
  const service = createFakeService();
  const { fetch } = createApi({
    service,
    storage: {} as never,
    builder: {} as never,
    images: {} as never,
    keptImages: {} as never,
    bus,
    activity,
    history: createEventHistory(bus),
    metrics: createMetrics(bus, activity),
    daemon: {
      home: '/b',
      startedAt: '',
      managed: true,
      settingsDigest: '',
      stopping: () => false,
      stopWhenIdle: () => undefined,
      stopNowIfIdle: () => false,
    },
  });
  return { fetch, service, bus, activity };
}

describe('the client over a unix socket', () => {
  async function connected() {
    const parts = setUp();
    const socket = join(folder, 'run/daemon.sock');
    open.push(await listenOnSocket(socket, parts.fetch));
    return { ...parts, socket, client: createClient(socketTransport(socket)) };
  }

  it('is the owner alone', async () => {
    const { socket } = await connected();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o700);
  });

  it('replaces a socket, or whatever a crash has left there', async () => {
    const socket = join(folder, 'daemon.sock');
    writeFileSync(socket, 'left');
    open.push(await listenOnSocket(socket, setUp().fetch));
    expect(await createClient(socketTransport(socket)).list()).toEqual([exampleBerth]);
  });

  it('gets events, results and errors', async () => {
    const { client, service } = await connected();
    const types: string[] = [];
    expect(await client.up({ path: '/p' }, { onEvent: ({ type }) => types.push(type) })).toEqual(exampleUp);
    expect(types).toEqual(['phase.started', 'phase.finished']);
    await expect(client.get('gone')).rejects.toMatchObject({ code: 'BERTH_UNKNOWN', exitCode: 66 });
    service.override.up = () =>
      Promise.reject(
        new BerthError('CONFIG_SYNTAX', 'A bracket is missing.', { location: { file: '/p/config.nix', line: 3 } }),
      );
    await expect(client.up({ path: '/p' })).rejects.toMatchObject({
      code: 'CONFIG_SYNTAX',
      location: { file: '/p/config.nix', line: 3 },
    });
    expect(await client.search('/p', 'jq', 5)).toHaveLength(1);
    expect((await client.daemon()).managed).toBe(true);
    let log = '';
    for await (const chunk of client.logs('web', false)) log += Buffer.from(chunk).toString();
    expect(log).toBe('hello\n');
  });

  it('holds a berth until it lets go of it', async () => {
    const { client, service, activity } = await connected();
    const held = await client.run({ path: '/p' });
    expect(held.berth.id).toBe('run1');
    expect(service.calls.map(([verb]) => verb)).toEqual(['run']);
    await held.release();
    await activity.whenIdle();
    expect(service.calls.map(([verb]) => verb)).toEqual(['run', 'remove']);
  });

  it('cancels its work with its signal', async () => {
    const { client, service, activity } = await connected();
    const cancel = new AbortController();
    let cancelled = false;
    service.override.up = (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          cancelled = true;
          reject(signal.reason as Error);
        });
        setTimeout(() => cancel.abort(), 10);
      });
    await expect(client.up({ path: '/p' }, { signal: cancel.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await activity.whenIdle();
    expect(cancelled).toBe(true);
  });

  it('follows all events, with their numbers', async () => {
    const { client, bus } = await connected();
    const cancel = new AbortController();
    const numbers: number[] = [];
    bus.emitter('x')({ type: 'warning', message: 'before' });
    try {
      for await (const { id } of client.events(0, { signal: cancel.signal })) {
        numbers.push(id);
        if (numbers.length === 1) bus.emitter('x')({ type: 'warning', message: 'after' });
        else cancel.abort();
      }
    } catch (error) {
      if (!cancel.signal.aborted) throw error;
    }
    expect(numbers).toEqual([1, 2]);
  });

  it('says so where no daemon answers', async () => {
    const client = createClient(socketTransport(join(folder, 'none.sock')));
    await expect(client.list()).rejects.toMatchObject({ code: 'DAEMON_UNREACHABLE' });
  });
});

describe('TCP', () => {
  const none = {
    listen: '127.0.0.1:0',
    token: null,
    noAuth: false,
    'tls.certificate': null,
    'tls.key': null,
    'tls.clientAuthority': null,
  };

  it.each([
    ['nothing', {}],
    ['noAuth on all addresses', { listen: '0.0.0.0:0', noAuth: true }],
    ['noAuth on all IPv6 addresses', { listen: '[::]:0', noAuth: true }],
    ['noAuth on a name that others may have', { listen: 'localhost.example:0', noAuth: true }],
  ])('does not listen with %s', async (_, settings) => {
    await expect(listenOnTcp({ ...none, ...settings }, setUp().fetch)).rejects.toMatchObject({
      code: 'LISTEN_REFUSED',
    });
  });

  it('names the address that another program has', async () => {
    const first = await listenOnTcp({ ...none, noAuth: true }, setUp().fetch);
    open.push(first);
    const listen = new URL(first.address).host;
    await expect(listenOnTcp({ ...none, noAuth: true, listen }, setUp().fetch)).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
  });

  it('needs both parts of TLS, and files that are there', async () => {
    const tls = { ...none, token: 'a-token-of-sixteen', 'tls.certificate': '/none.pem' };
    await expect(listenOnTcp(tls, setUp().fetch)).rejects.toMatchObject({ code: 'SETTING_INVALID' });
    await expect(listenOnTcp({ ...tls, 'tls.key': '/none.key' }, setUp().fetch)).rejects.toMatchObject({
      code: 'SETTING_INVALID',
    });
  });

  it.each([
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    [':80', { host: '127.0.0.1', port: 80 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
  ])('reads %s', (address, wanted) => expect(parseAddress(address)).toEqual(wanted));

  it.each(['80', 'host', 'host:', 'host:99999', '::1:80', 'host:80x'])('refuses the address %s', (address) => {
    expect(() => parseAddress(address)).toThrow(BerthError);
  });
});

describe('authentication', () => {
  const ok = () => new Response('ok');
  const ask = async (
    policy: { token: string | null; loopbackOnly: boolean },
    url: string,
    headers: Record<string, string> = {},
  ) => (await authenticated(ok, policy)(new Request(url, { headers }))).status;
  const token = { token: 'the-right-token-1234', loopbackOnly: false };
  const local = { token: null, loopbackOnly: true };

  it.each([
    ['without a token', {}, 401],
    ['with a wrong one', { authorization: 'Bearer the-right-token-1235' }, 401],
    ['with a part of it', { authorization: 'Bearer the-right' }, 401],
    ['with another scheme', { authorization: 'Basic the-right-token-1234' }, 401],
    ['with the right one', { authorization: 'Bearer the-right-token-1234' }, 200],
    [
      'with the right one, from a page of another origin',
      { authorization: 'Bearer the-right-token-1234', origin: 'https://evil.example' },
      401,
    ],
  ])('answers a request %s', async (_, headers, status) => {
    expect(await ask(token, 'http://host.example:7474/v1/berths', headers as Record<string, string>)).toBe(status);
  });

  it('lets only health and readiness pass without a token', async () => {
    expect(await ask(token, 'http://h/healthz')).toBe(200);
    expect(await ask(token, 'http://h/readyz')).toBe(200);
    expect(await ask(token, 'http://h/metrics')).toBe(401);
  });

  it('without a token, answers loopback names only, so that DNS rebinding does not get in', async () => {
    expect(await ask(local, 'http://127.0.0.1:7474/v1/berths')).toBe(200);
    expect(await ask(local, 'http://[::1]:7474/v1/berths')).toBe(200);
    expect(await ask(local, 'http://localhost:7474/v1/berths')).toBe(200);
    expect(await ask(local, 'http://evil.example:7474/v1/berths')).toBe(401);
    expect(await ask(local, 'http://127.0.0.1:7474/v1/berths', { origin: 'null' })).toBe(401);
    expect(await ask(local, 'http://127.0.0.1:7474/v1/berths', { origin: 'http://127.0.0.1:7474' })).toBe(200);
  });
});
