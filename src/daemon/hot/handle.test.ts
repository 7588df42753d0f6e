import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BerthError } from '../../core/errors.ts';
import { EventBus, type PublishedEvent } from '../../core/events.ts';
import { build } from '../../core/version.ts';
import type { BerthSummary, EphemeralBerth, ReadyService } from '../../environment/service.ts';
import { createActivity } from '../activity.ts';
import { readSettings, settingsDigest } from '../settings.ts';
import { createHotHandler, type HotHandlerOptions } from './handle.ts';
import type { HotRequest } from './protocol.ts';

const berth: EphemeralBerth = {
  id: 'e1',
  name: 'run-1',
  agentSocket: '/b/e1/agent.sock',
  cache: { environment: 'hit', build: 'hit', image: 'none' },
  timingsMs: { read: 0, evaluate: 0, build: 0, libraries: 0, materialise: 0, start: 0, total: 0 },
};
const web = { id: 'w1', name: 'web', state: 'running', agentSocket: '/b/w1/agent.sock' } as BerthSummary;

let home: string;
let stopping: boolean;
const remove = vi.fn<(id: string) => Promise<void>>();
const run = vi.fn<ReadyService['run']>();
let events: PublishedEvent[];
const activity = createActivity();

beforeEach(() => {
  home = mkdtempSync('/tmp/berth-handle-');
  stopping = false;
  events = [];
  remove.mockReset().mockResolvedValue();
  run.mockReset().mockResolvedValue(berth);
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const env = () => ({ HOME: home, BERTH_HOME: home });

function handler(more: Partial<HotHandlerOptions> = {}) {
  const bus = new EventBus();
  bus.subscribe((event) => events.push(event));
  return createHotHandler({
    service: {
      list: () => Promise.resolve([]),
      get: (name) =>
        name === 'web'
          ? Promise.resolve(web)
          : name === 'stopped'
            ? Promise.resolve({ ...web, state: 'stopped' })
            : Promise.reject(new BerthError('BERTH_UNKNOWN', 'none')),
      remove,
    },
    ready: { environment: () => undefined, up: () => Promise.resolve(undefined), run },
    activity,
    bus,
    settingsDigest: settingsDigest(readSettings({ env: env() })),
    stopping: () => stopping,
    ...more,
  });
}

const ask = (line: string, more: Partial<HotRequest> = {}, options: Partial<HotHandlerOptions> = {}) =>
  handler(options)(
    {
      ...{ build, cwd: '/p', args: line.split(' '), columns: 100, rows: 30, env: env() },
      terminals: { stdin: false, stdout: false, stderr: false },
      ...more,
    },
    new AbortController().signal,
  );

describe('createHotHandler', () => {
  it('attaches to a berth made for the command, which is work until it is released', async () => {
    const answer = await ask('run . -- true');
    expect(answer).toMatchObject({
      kind: 'attach',
      attachment: { agentSocket: berth.agentSocket, request: { argv: ['true'], hook: true } },
    });
    expect(run.mock.calls[0]?.[0]).toEqual({ path: '/p' });
    expect(activity.inFlight).toBe(1);
    expect(events.map(({ type }) => type)).toEqual(['request.finished']);
    if (answer.kind === 'attach') await answer.release?.();
    expect(remove).toHaveBeenCalledWith('e1');
    expect(activity.inFlight).toBe(0);
  });

  it('is no longer at work when a release fails', async () => {
    remove.mockRejectedValue(new TypeError('stuck'));
    const answer = await ask('run -- true');
    await expect(answer.kind === 'attach' ? answer.release?.() : undefined).rejects.toThrow('stuck');
    expect(activity.inFlight).toBe(0);
  });

  it("holds nothing for a command in a berth of the user's", async () => {
    expect(await ask('exec web -- ls')).toEqual({
      kind: 'attach',
      attachment: expect.objectContaining({ agentSocket: web.agentSocket }) as unknown,
    });
    expect(activity.inFlight).toBe(0);
  });

  it('asks for a terminal where both input and output are one', async () => {
    const tty = { stdin: true, stdout: true, stderr: true };
    const whole = await ask('shell', { terminals: tty, env: { ...env(), TERM: 'xterm' } });
    expect(whole).toMatchObject({
      attachment: { request: { argv: [], tty: { columns: 100, rows: 30 }, variables: { TERM: 'xterm' } } },
    });
    const half = await ask('shell', { terminals: { ...tty, stdout: false } });
    expect(half).not.toHaveProperty('attachment.request.tty');
    for (const answer of [whole, half]) if (answer.kind === 'attach') await answer.release?.();
  });

  it.each(['exec nobody -- ls', 'exec stopped -- ls', 'env', 'up', 'stop web', 'exec web -- a\0b'])(
    'leaves `%s` to the Node command',
    async (line) => {
      expect(await ask(line)).toEqual({ kind: 'fallBack' });
      expect(activity.inFlight).toBe(0);
      expect(events).toEqual([]);
    },
  );

  it('leaves all to the Node command while the daemon leaves, and for another build', async () => {
    stopping = true;
    expect(await ask('ps')).toEqual({ kind: 'fallBack' });
    stopping = false;
    expect(await ask('ps', { build: 'other' })).toEqual({ kind: 'fallBack' });
    expect(await ask('ps -q')).toEqual({ kind: 'output', output: { stdout: '', exitCode: 0 } });
  });

  it('leaves a client of other settings to the Node command, be they wrong', async () => {
    expect(await ask('ps', { env: { ...env(), BERTH_LIMITS_PIDS: '7' } })).toEqual({ kind: 'fallBack' });
    await expect(ask('ps', { env: { ...env(), BERTH_LIMITS_PIDS: 'many' } })).resolves.toEqual({ kind: 'fallBack' });
  });

  it('leaves variables that only a settings file names to the Node command', async () => {
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, 'settings.json'), '{"evaluation.passEnv": ["TOKEN"]}');
    const named = { ...env(), BERTH_EVALUATION_PASS_ENV: 'TOKEN', TOKEN: 'x' };
    const digest = { settingsDigest: settingsDigest(readSettings({ env: env() })) };
    expect(await ask('run -- true', {}, digest)).toEqual({ kind: 'fallBack' });
    const answer = await ask('run -- true', { env: named }, digest);
    expect(run.mock.calls[0]?.[0]).toEqual({ path: '/p', passEnv: { TOKEN: 'x' } });
    if (answer.kind === 'attach') await answer.release?.();
  });

  it('tells of an error that is none of the catalogue', async () => {
    run.mockRejectedValue(new TypeError('broken'));
    await expect(ask('run -- true')).rejects.toThrow('broken');
    expect(activity.inFlight).toBe(0);
  });
});
