/** Switching a running berth, its history and the way back, with real packages and containers. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { execInBerth } from '../../src/engine/agent/agent-client.ts';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { until } from '../support/until.ts';

let flow: Flow;
beforeAll(async () => {
  flow = await createFlow({ variables: { BERTH_GENERATIONS_KEEP: '3' } });
});
afterAll(() => flow.close());

const configOf = (packages: string, greeting = 'hello', more = '') =>
  `{ pkgs, ... }: { packages = [ ${packages} ]; env.GREETING = "${greeting}"; ${more} }\n`;

async function start(config: string, subject = 'up') {
  const project = await flow.project({ 'config.nix': config });
  const result = await flow.service.up({ path: project }, flow.context(subject));
  const { agentSocket } = await flow.service.get(result.name);
  const save = (content: string) => writeFileSync(join(project, 'config.nix'), content);
  return {
    project,
    name: result.name,
    agentSocket,
    save,
    up: (context = subject) => flow.service.up({ path: project }, flow.context(context)),
    sh: async (script: string) => (await runIn(agentSocket, ['sh', '-c', script])).stdout.trim(),
    runDirectory: join(agentSocket, '..'),
  };
}

const numbers = async (name: string) =>
  (await flow.service.history(name)).generations.map((generation) => generation.number);

describe('history', () => {
  test('lists each environment with what was different, and rollback leads back without an evaluation', async () => {
    const berth = await start(configOf('pkgs.ripgrep'), 'history');
    berth.save(configOf('pkgs.ripgrep pkgs.jq'));
    const second = await berth.up();
    expect(second).toMatchObject({ generation: 2, switched: { from: 1, to: 2 } });
    berth.save(configOf('pkgs.jq', 'goodbye'));
    await berth.up();

    const history = await flow.service.history(berth.name);
    expect(history).toMatchObject({ current: 3, config: 'same' });
    expect(history.generations.map(({ number, origin, difference }) => ({ number, origin, difference }))).toEqual([
      {
        number: 3,
        origin: 'up',
        difference: {
          added: [],
          removed: [{ name: 'ripgrep', version: expect.any(String) as string }],
          updated: [],
          variables: 1,
        },
      },
      {
        number: 2,
        origin: 'up',
        difference: {
          added: [{ name: 'jq', version: expect.any(String) as string }],
          removed: [],
          updated: [],
          variables: expect.any(Number) as number,
        },
      },
      { number: 1, origin: 'up', difference: null },
    ]);
    expect(await berth.sh('echo $GREETING; command -v rg || echo none')).toBe('goodbye\nnone');

    flow.events.length = 0;
    const back = await flow.service.rollback(berth.name, { to: 1 }, flow.context('back'));
    expect(back).toMatchObject({ from: 3, to: 4, of: 1 });
    expect(flow.events.filter((event) => event.type === 'phase.started').map((event) => event.phase)).not.toContain(
      'evaluate',
    );
    expect(flow.events).toContainEqual(
      expect.objectContaining({ type: 'berth.switched', from: 3, to: 4, added: ['ripgrep'], removed: ['jq'] }),
    );
    expect(await berth.sh('echo $GREETING; command -v jq || echo none; rg --version | head -c 7')).toBe(
      'hello\nnone\nripgrep',
    );
    // The config was not edited, so the berth differs from it, and the next `up` goes forward again.
    expect(readFileSync(join(berth.project, 'config.nix'), 'utf8')).toBe(configOf('pkgs.jq', 'goodbye'));
    expect((await flow.service.history(berth.name)).config).toBe('differs');
    expect(await berth.up()).toMatchObject({ generation: 5, cache: { environment: 'hit' } });
    expect(await berth.sh('echo $GREETING')).toBe('goodbye');
    expect((await flow.service.history(berth.name)).config).toBe('same');
  });

  test('without a number goes one back, and from there another one', async () => {
    const berth = await start(configOf('', 'one'), 'steps');
    for (const greeting of ['two', 'three']) {
      berth.save(configOf('', greeting));
      await berth.up();
    }
    const back = async () => (await flow.service.rollback(berth.name, {}, flow.context('steps'))).of;
    expect([await back(), await berth.sh('echo $GREETING')]).toEqual([2, 'two']);
    expect([await back(), await berth.sh('echo $GREETING')]).toEqual([1, 'one']);
    await expect(back()).rejects.toMatchObject({ code: 'GENERATION_UNKNOWN' });
    await expect(flow.service.rollback(berth.name, { to: 99 }, flow.context('steps'))).rejects.toMatchObject({
      code: 'GENERATION_UNKNOWN',
    });
  });

  test('is bounded, but keeps what a process that runs may have', async () => {
    const berth = await start(configOf('', '1'), 'bounded');
    for (const greeting of ['2', '3', '4', '5']) {
      berth.save(configOf('', greeting));
      await berth.up();
    }
    expect(await numbers(berth.name)).toEqual([5, 4, 3]);
    expect(existsSync(join(berth.runDirectory, 'generation-1/environment'))).toBe(true);
    // Nothing of before a stop runs any more.
    await flow.service.stop(berth.name, 100);
    await flow.service.start(berth.name, flow.context('bounded'));
    berth.save(configOf('', '6'));
    await berth.up();
    expect(readdirSync(berth.runDirectory).filter((name) => name.startsWith('generation-'))).toEqual([
      'generation-4',
      'generation-5',
      'generation-6',
    ]);
  });

  test('keeps the packages of what it lists from the garbage collector', async () => {
    const berth = await start(configOf('pkgs.jq', 'kept'), 'garbage');
    berth.save(configOf('', 'kept'));
    await berth.up();
    const report = await flow.storage.collectGarbage({ dryRun: true }, flow.context('garbage'));
    const [, first] = (await flow.service.history(berth.name)).generations;
    expect(report.environments).not.toContain(first?.environmentDigest);
  });
});

describe('a switch', () => {
  test('leaves a process that runs what it has, which it finds under its generation', async () => {
    const berth = await start(configOf('pkgs.python3'), 'process');
    const program = `
import os, sys, glob, ctypes
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
view = "/run/berth/generation-" + os.environ["BERTH_GENERATION"] + "/fhs"
print(os.environ["GREETING"])
for part in "", "/lib-dynload":
    sys.path.insert(0, view + "/usr/lib/python%d.%d" % sys.version_info[:2] + part)
import wave
print("wave from", wave.__file__.split("/")[3])
print("late", bool(ctypes.CDLL(glob.glob(view + "/usr/lib/*/libbz2.so.1.0")[0]).BZ2_bzlibVersion))
`;
    const running = await execInBerth(berth.agentSocket, { argv: ['python3', '-u', '-c', program], hook: true });
    const shown = text(running.stdout);
    berth.save(configOf('pkgs.jq', 'new'));
    await berth.up();
    expect(await berth.sh('command -v python3 || echo none; echo $GREETING')).toBe('none\nnew');
    running.stdin.end('\n');
    expect(await shown).toBe('ready\nhello\nwave from generation-1\nlate True\n');
  });

  test('with packages added leaves them all to a process that loads some late', async () => {
    const berth = await start(configOf('pkgs.python3'), 'late');
    const program = `
import os, sys
print("ready"); sys.stdin.readline()
import sqlite3, ssl
print(os.environ["GREETING"], sqlite3.connect(":memory:").execute("select 1+1").fetchone()[0])
`;
    const running = await execInBerth(berth.agentSocket, { argv: ['python3', '-u', '-c', program], hook: true });
    const shown = text(running.stdout);
    berth.save(configOf('pkgs.python3 pkgs.jq', 'new'));
    await berth.up();
    running.stdin.end('\n');
    expect(await shown).toBe('ready\nhello 2\n');
  });

  test('is all old or all new for each command, through 100 switches', async () => {
    const berth = await start(configOf('', 'even', 'shellHook = "HOOKED=even";'), 'atomic');
    berth.save(configOf('pkgs.jq', 'odd', 'shellHook = "HOOKED=odd";'));
    await berth.up();
    let ended = false;
    const seen = new Set<string>();
    const script =
      'view=$(readlink /run/berth/generation-$BERTH_GENERATION/fhs); echo $BERTH_GENERATION $GREETING $HOOKED $view';
    const look = async () => {
      while (!ended) {
        const { stdout, code } = await runIn(berth.agentSocket, [
          '/berth/bin/busybox',
          'sh',
          '-c',
          `export HOOKED; ${script}`,
        ]);
        if (code !== 0) seen.add(`failed: ${code}`);
        seen.add(stdout.trim().replace(/^\d+ /, ''));
      }
    };
    const lookers = [look(), look()];
    for (let round = 0; round < 100; round += 1) {
      const { generations } = await flow.service.history(berth.name);
      await flow.service.rollback(berth.name, { to: generations[1]?.number ?? 0 }, flow.context('atomic'));
    }
    ended = true;
    await Promise.all(lookers);
    expect([...seen].sort()).toEqual([
      expect.stringMatching(/^even \S* ?\/nix\/store\/\S+$/),
      expect.stringMatching(/^odd \S* ?\/nix\/store\/\S+$/),
    ]);
  });

  test('that fails leaves the old environment, with the error', async () => {
    const berth = await start(configOf('pkgs.jq'), 'fails');
    const has = () => berth.sh('echo $GREETING; jq -n 1+1');
    for (const [config, code] of [
      ['{ pkgs, ... }: { packages = [ pkgs.jq ', 'CONFIG_SYNTAX'],
      [configOf('(pkgs.runCommand "broken" { } "exit 3")', 'bad'), 'BUILD_FAILED'],
    ] as const) {
      berth.save(config);
      await expect(berth.up()).rejects.toMatchObject({ code });
      expect(await has()).toBe('hello\n2');
    }
    expect(await numbers(berth.name)).toEqual([1]);
  });

  test('leaves the old environment where the agent does not answer', async () => {
    const berth = await start(configOf('pkgs.jq'), 'agent');
    const moved = `${berth.agentSocket}.away`;
    const before = readFileSync(join(berth.runDirectory, 'current/environment'), 'utf8');
    spawnSync('mv', [berth.agentSocket, moved]);
    berth.save(configOf('pkgs.jq', 'new'));
    await expect(berth.up()).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
    expect(readFileSync(join(berth.runDirectory, 'current/environment'), 'utf8')).toBe(before);
    spawnSync('mv', [moved, berth.agentSocket]);
    expect(await berth.sh('echo $GREETING')).toBe('hello');
    expect(await numbers(berth.name)).toEqual([1]);
    await berth.up();
    expect(await berth.sh('echo $GREETING')).toBe('new');
  });

  test('is finished by the next daemon where a crash came between the record and the switch', async () => {
    const berth = await start(configOf('', 'old'), 'crash');
    berth.save(configOf('', 'new'));
    await berth.up();
    rmSync(join(berth.runDirectory, 'current'));
    symlinkSync('generation-1', join(berth.runDirectory, 'current'));
    await flow.restart();
    expect(await berth.sh('echo $GREETING')).toBe('new');
    // And a rollback works after a restart.
    await flow.service.rollback(berth.name, {}, flow.context('crash'));
    expect(await berth.sh('echo $GREETING')).toBe('old');
  });

  test('has what the view has new in /etc, and not what it has no more', async () => {
    const berth = await start(configOf(''), 'etc');
    const has = () => berth.sh('[ -e /etc/magic ] && echo yes || echo no');
    expect(await has()).toBe('no');
    berth.save(configOf('pkgs.file'));
    await berth.up();
    expect(await has()).toBe('yes');
    await flow.service.rollback(berth.name, {}, flow.context('etc'));
    expect(await has()).toBe('no');
    expect(await berth.sh('ls -l /etc | grep magic')).toBe('');
  });
});

describe('a change that needs a new container', () => {
  test('goes on with the history, and says what it ended', async () => {
    const berth = await start(configOf('', 'old'), 'replaced');
    const { id } = await flow.service.get(berth.name);
    berth.save(configOf('', 'new', 'command = [ "sleep" "1000" ];'));
    const result = await berth.up();
    expect(result).toMatchObject({ generation: 2, switched: { from: 1, to: 2, replaced: true } });
    expect(result.id).not.toBe(id);
    expect(await numbers(berth.name)).toEqual([2, 1]);
  });

  test('and that fails starts the old one again', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const berth = await start(configOf('', 'old'), 'again');
    berth.save(configOf('', 'new', `ports = [ ${port} ];`));
    await expect(berth.up()).rejects.toMatchObject({ code: 'PORT_TAKEN' });
    server.close();
    expect(await berth.sh('echo $GREETING')).toBe('old');
    expect(await numbers(berth.name)).toEqual([1]);
  });
});

describe('watch', () => {
  test('follows saves of all that was read, also of a file that was not there', async () => {
    const project = await flow.project({
      'config.nix': `{ pkgs, ... }: {
        packages = [ ];
        env.GREETING = if builtins.pathExists ./greeting then builtins.readFile ./greeting else "none";
      }`,
    });
    const ending = new AbortController();
    flow.events.length = 0;
    const watching = flow.service.watch({ path: project, name: 'watched' }, flow.context('watch', ending.signal));
    const greeting = async () => {
      const { agentSocket } = await flow.service.get('watched');
      return (await runIn(agentSocket, ['sh', '-c', 'echo $GREETING'])).stdout.trim();
    };
    const becomes = (wanted: string) => until(async () => (await greeting().catch(() => '')) === wanted, 60_000);
    await becomes('none');
    writeFileSync(join(project, 'greeting'), 'appeared');
    await becomes('appeared');
    // As editors save: a rename over the file.
    writeFileSync(join(project, '.greeting.swp'), 'renamed');
    spawnSync('mv', [join(project, '.greeting.swp'), join(project, 'greeting')]);
    await becomes('renamed');
    const config = readFileSync(join(project, 'config.nix'), 'utf8');
    writeFileSync(join(project, 'config.nix'), '{ pkgs, ... }: {');
    await until(() => flow.events.some((event) => event.type === 'failed' && event.subject === 'watch'), 60_000);
    expect(await greeting()).toBe('renamed');
    writeFileSync(join(project, 'config.nix'), config.replace('"none"', '"gone"'));
    rmSync(join(project, 'greeting'));
    await becomes('gone');
    ending.abort();
    await watching;
    writeFileSync(join(project, 'greeting'), 'unseen');
    const { generations } = await flow.service.history('watched');
    expect(new Set(generations.map((generation) => generation.origin))).toEqual(new Set(['watch']));
  });
});

describe('add', () => {
  test('gives the package to the running berths of the config, unless it is told not to', async () => {
    const berth = await start(configOf(''), 'add');
    const added = await flow.service.addPackages(berth.project, ['jq'], flow.context('add'));
    expect(added).toMatchObject({ names: ['jq'], switched: [{ name: berth.name, from: 1, to: 2 }] });
    expect(await berth.sh('jq -n 1+1')).toBe('2');
    const removed = await flow.service.removePackages(berth.project, ['jq'], flow.context('add'), { noSwitch: true });
    expect(removed.switched).toEqual([]);
    expect(await berth.sh('jq -n 1+1')).toBe('2');
    expect((await flow.service.history(berth.name)).generations[0]).toMatchObject({ number: 2, origin: 'add' });
  });

  test('gives it to a berth that lives as long as its shell too', async () => {
    const project = await flow.project({ 'config.nix': configOf('') });
    const shell = await flow.service.run({ path: project }, flow.context('shell'));
    await flow.service.addPackages(project, ['jq'], flow.context('shell'));
    expect((await runIn(shell.agentSocket, ['jq', '-n', '1+1'])).stdout).toBe('2\n');
    expect(await numbers(shell.id)).toEqual([2, 1]);
    await flow.service.remove(shell.id);
  });
});
