/** `berth serve`: the daemon in the foreground, and who may call it over TCP. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildIfStale, createCliHome, firstOutput, until, type CliHome, type Outcome } from './cli-home.ts';

beforeAll(buildIfStale);

let cli: CliHome;
let running: { end: () => Promise<Outcome> } | undefined;
beforeEach(() => {
  cli = createCliHome();
});
afterEach(async () => {
  await running?.end();
  running = undefined;
  await cli.close();
});

/** Starts it and waits until it says where it answers. */
async function serve(args: readonly string[], env: Record<string, string> = {}) {
  const started = cli.start(['serve', '--json', ...args], { env });
  const { child, outcome } = started;
  const line = await firstOutput(started);
  running = {
    end() {
      child.kill('SIGTERM');
      return outcome;
    },
  };
  const { addresses } = JSON.parse(line) as { addresses: string[] };
  return { url: addresses[1]!, outcome };
}

const token = 'a-token-of-more-than-16';

describe('TCP', () => {
  it.each([
    ['no way to tell who calls', ['--listen', '127.0.0.1:0'], 'LISTEN_REFUSED'],
    ['--no-auth on an address that others reach', ['--listen', '0.0.0.0:0', '--no-auth'], 'LISTEN_REFUSED'],
    ['an address that is none', ['--listen', 'nonsense', '--no-auth'], 'SETTING_INVALID'],
  ])('is refused with %s', async (_, args, code) => {
    const outcome = await cli.berth(['serve', '--json', ...args]);
    expect(outcome.code).toBe(2);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ error: { code, fault: 'user' } });
    expect(cli.daemonPid()).toBeUndefined();
  });

  it('with --no-auth answers local programs, but no web page', async () => {
    const { url } = await serve(['--listen', '127.0.0.1:0', '--no-auth']);
    expect(await (await fetch(`${url}/v1/berths`)).json()).toEqual({ berths: [] });
    expect((await fetch(`${url}/v1/berths`, { headers: { origin: 'https://evil.example' } })).status).toBe(401);
  });

  it('with a token answers those who have it', async () => {
    const { url } = await serve(['--listen', '127.0.0.1:0'], { BERTH_TOKEN: token });
    const ask = async (headers: Record<string, string>, path = '/v1/berths') =>
      (await fetch(`${url}${path}`, { headers })).status;
    expect(await ask({})).toBe(401);
    expect(await ask({ authorization: 'Bearer wrong-token-of-16-letters' })).toBe(401);
    expect(await ask({ authorization: `Bearer ${token}` })).toBe(200);
    expect(await ask({}, '/metrics')).toBe(401);
    expect(await ask({}, '/healthz')).toBe(200);
  });
});

describe('beside commands', () => {
  it('takes over from a daemon that a command has started, and keeps its settings', async () => {
    await cli.berth(['ps']);
    const before = cli.daemonPid();
    await serve([]);
    const pid = cli.daemonPid();
    expect(pid).not.toBe(before);
    const outcome = await cli.berth(['ps', '--json'], { env: { BERTH_SOURCE: 'debian' } });
    expect(outcome).toMatchObject({ code: 0, stdout: '{"berths":[]}\n' });
    expect(cli.daemonPid()).toBe(pid);
  });

  it('refuses a second one of the same home', async () => {
    await serve([]);
    const second = await cli.berth(['serve', '--json']);
    expect(second.code).toBe(75);
    expect(JSON.parse(second.stdout)).toMatchObject({ error: { code: 'DAEMON_RUNNING' } });
  });

  it('ends at SIGTERM with exit code 0', async () => {
    await serve([]);
    expect(await running!.end()).toMatchObject({ code: 0 });
    await until(() => cli.daemonPid() === undefined);
  });
});
