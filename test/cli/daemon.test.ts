/** The daemon's life as the command sees it: started on demand, one for a home, back after a crash. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildIfStale, createCliHome, isAlive, until, type CliHome } from './cli-home.ts';

beforeAll(buildIfStale);

let cli: CliHome;
beforeEach(() => {
  cli = createCliHome();
});
afterEach(() => cli.close());

const noBerths = '{"berths":[]}\n';

describe('starting', () => {
  it('happens when a command needs the daemon, with sockets that only their owner can use', async () => {
    expect(cli.daemonPid()).toBeUndefined();
    const first = await cli.berth(['ps', '--json']);
    expect(first).toMatchObject({ code: 0, stdout: noBerths, stderr: '' });
    const pid = cli.daemonPid();
    expect(pid).toBeDefined();
    expect(statSync(cli.socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(cli.home, 'run')).mode & 0o777).toBe(0o700);
    expect(await cli.get('/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await cli.berth(['ps', '--json'])).toMatchObject({ code: 0, stdout: noBerths });
    expect(cli.daemonPid()).toBe(pid);
  });

  it('happens once when several commands come at the same time', async () => {
    const outcomes = await Promise.all([1, 2, 3].map(() => cli.berth(['ps', '--json'])));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ code: 0, stdout: noBerths, stderr: '' });
    const started = readFileSync(cli.log, 'utf8').match(/"type":"daemon.started"/g);
    expect(started).toHaveLength(1);
  });

  it('says why it failed', async () => {
    const database = new Database(join(cli.home, 'state.db'));
    database.pragma('user_version = 99');
    database.close();
    const { code, stdout } = await cli.berth(['ps', '--json']);
    expect(code).toBe(78);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'STATE_TOO_NEW', fault: 'user' } });
    expect(cli.daemonPid()).toBeUndefined();
  });
});

describe('a crash', () => {
  it('is no harm: the socket that is left is replaced, and the next command works', async () => {
    await cli.berth(['ps']);
    const pid = cli.daemonPid()!;
    process.kill(pid, 'SIGKILL');
    await until(() => !isAlive(pid));
    expect(existsSync(cli.socket)).toBe(true);
    expect(await cli.berth(['ps', '--json'])).toMatchObject({ code: 0, stdout: noBerths, stderr: '' });
    expect(cli.daemonPid()).not.toBe(pid);
  });
});

describe('leaving', () => {
  it('happens by itself without work, and leaves no socket', async () => {
    await cli.berth(['ps'], { env: { BERTH_IDLE_TIMEOUT_MS: '200' } });
    await until(() => cli.daemonPid() === undefined);
    expect(existsSync(cli.socket)).toBe(false);
    expect(readFileSync(cli.log, 'utf8')).toContain('"reason":"it had no work"');
  });

  it('happens at SIGTERM', async () => {
    await cli.berth(['ps']);
    const pid = cli.daemonPid()!;
    process.kill(pid, 'SIGTERM');
    await until(() => !isAlive(pid));
    expect(existsSync(cli.socket)).toBe(false);
  });

  it('happens when a command has other settings, so that a changed setting counts at once', async () => {
    await cli.berth(['ps']);
    const pid = cli.daemonPid()!;
    expect(await cli.berth(['ps', '--json'], { env: { BERTH_SOURCE: 'debian' } })).toMatchObject({
      code: 0,
      stdout: noBerths,
      stderr: '',
    });
    expect(cli.daemonPid()).not.toBe(pid);
    writeFileSync(join(cli.home, 'settings.json'), '{"limits": {"memory": "1G"}}');
    const second = cli.daemonPid();
    expect(await cli.berth(['ps', '--json'])).toMatchObject({ code: 0, stdout: noBerths });
    expect(cli.daemonPid()).not.toBe(second);
  });
});

describe('work under way', () => {
  /** A mirror that takes requests and never answers. */
  let mirror: Server;
  let asked: Promise<void>;
  let env: Record<string, string>;
  beforeEach(async () => {
    mirror = createServer();
    asked = new Promise((resolve) => mirror.once('request', () => resolve()));
    await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/debian`;
    env = { BERTH_SOURCE: 'debian', BERTH_DEBIAN_MIRROR: address };
  });
  afterEach(() => {
    mirror.closeAllConnections();
    mirror.close();
  });

  const inFlight = async () => ((await cli.get('/v1/daemon')).body as { inFlight: number }).inFlight;

  it('is cancelled by Ctrl-C, in the daemon too', async () => {
    const { child, outcome } = cli.start(['search', 'jq', '--json'], { env });
    await asked;
    expect(await inFlight()).toBe(1);
    child.kill('SIGINT');
    const { code, stdout } = await outcome;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'CANCELLED' } });
    await until(async () => (await inFlight()) === 0);
  });

  it('ends in the daemon when the command is killed', async () => {
    const { child, outcome } = cli.start(['search', 'jq'], { env });
    await asked;
    child.kill('SIGKILL');
    await outcome;
    await until(async () => (await inFlight()) === 0);
  });

  it('keeps a daemon of other settings, and the command says so', async () => {
    const { child, outcome } = cli.start(['search', 'jq'], { env });
    await asked;
    const pid = cli.daemonPid();
    const other = await cli.berth(['ps', '--json'], { env: { ...env, BERTH_LIMITS_PIDS: '99' } });
    expect(other).toMatchObject({ code: 0, stdout: noBerths });
    expect(other.stderr).toContain('warning: The daemon has other settings');
    expect(cli.daemonPid()).toBe(pid);
    child.kill('SIGINT');
    await outcome;
  });

  it('fails with a word about it when the daemon is killed', async () => {
    const { outcome } = cli.start(['search', 'jq', '--json'], { env });
    await asked;
    process.kill(cli.daemonPid()!, 'SIGKILL');
    const { code, stdout } = await outcome;
    expect(code).toBe(70);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'DAEMON_UNREACHABLE', retryable: true } });
  });
});
