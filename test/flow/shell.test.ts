/** Mode `shell` from a config.nix to commands in a container, with real Nix, packages and containers. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFlow, runIn, type Flow } from '../support/flow.ts';

let flow: Flow;
beforeAll(async () => {
  flow = await createFlow();
});
afterAll(() => flow.close());

const tools = '{ pkgs, ... }: { packages = [ pkgs.python3 pkgs.git pkgs.ripgrep ]; env.GREETING = "hello"; }\n';

async function up(path: string, subject = path) {
  return flow.service.up({ path }, flow.context(subject));
}

async function agentOf(name: string): Promise<string> {
  return (await flow.service.get(name)).agentSocket;
}

describe('up', () => {
  test('ends with a container in which the packages run, and the project is at /work', async () => {
    const project = await flow.project({ 'config.nix': tools, 'note.txt': 'needle\n' });
    const result = await up(project);
    expect(result).toMatchObject({ state: 'ready', mode: 'shell', engine: 'embedded', imageDigest: null });
    expect(result.closure.paths).toBeGreaterThan(20);
    const agent = await agentOf(result.name);
    const python = await runIn(agent, ['python3', '-c', 'import ssl, sqlite3, os; print(os.environ["GREETING"])']);
    expect(python).toEqual({ code: 0, stdout: 'hello\n', stderr: '' });
    expect((await runIn(agent, ['rg', '-l', 'needle', '.'])).stdout).toBe('./note.txt\n');
    expect((await runIn(agent, ['git', 'init', '-q', '/tmp/r'])).code).toBe(0);
    expect((await runIn(agent, ['sh', '-c', 'touch /nix/store/x'])).stderr).toMatch(/[Rr]ead-only file system/);
  });

  test('again is a hit in everything, and the same berth', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const first = await up(project);
    const second = await up(project);
    expect(second.id).toBe(first.id);
    expect(second.cache).toMatchObject({ environment: 'hit', build: 'hit' });
    expect(second.environmentDigest).toBe(first.environmentDigest);
  });

  test('after a comment, white space or another order of packages evaluates, and builds nothing', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const first = await up(project);
    for (const edited of [
      `# a comment\n${tools}`,
      tools.replace(/ /g, '  '),
      tools.replace('pkgs.python3 pkgs.git', 'pkgs.git pkgs.python3'),
    ]) {
      writeFileSync(join(project, 'config.nix'), edited);
      const again = await up(project);
      expect(again.cache).toMatchObject({ environment: 'miss', build: 'hit' });
      expect(again.environmentDigest).toBe(first.environmentDigest);
      expect(again.id).toBe(first.id);
    }
  });

  test('after a package was added gives it to the running container, without a restart', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const first = await up(project);
    const agent = await agentOf(first.name);
    expect((await runIn(agent, ['jq', '--version'])).code).toBe(127);
    const before = await runIn(agent, ['sh', '-c', 'echo kept > /tmp/mark; cat /proc/1/stat']);
    writeFileSync(join(project, 'config.nix'), tools.replace('pkgs.git', 'pkgs.git pkgs.jq'));
    const second = await up(project);
    expect(second.id).toBe(first.id);
    expect((await runIn(agent, ['jq', '-n', '1+1'])).stdout).toBe('2\n');
    const after = await runIn(agent, ['sh', '-c', 'cat /tmp/mark; cat /proc/1/stat']);
    expect(after.stdout.split('\n')[0]).toBe('kept');
    // Field 22 of stat is when process 1 was started.
    expect(after.stdout.split('\n')[1]?.split(' ')[21]).toBe(before.stdout.split(' ')[21]);
  });

  test('of the same config at the same time does the work once', async () => {
    const config = tools.replace('hello', `hello ${Math.random()}`);
    const project = await flow.project({ 'config.nix': config });
    const results = await Promise.all(['a', 'b', 'c'].map((subject) => up(project, `same-${subject}`)));
    expect(new Set(results.map((result) => result.id)).size).toBe(1);
    const started = flow.events.filter(
      (event) => event.type === 'derivation.started' && event.subject.startsWith('same-') && !event.joined,
    );
    // One environment was built, for all three.
    expect(started).toHaveLength(1);
  });

  test('runs the config’s command, whose output is the log, and publishes its ports', async () => {
    const project = await flow.project({
      'config.nix': `{ pkgs, ... }: {
        packages = [ pkgs.python3 ];
        command = [ "python3" "-u" "-m" "http.server" "18473" "--bind" "127.0.0.1" ];
        ports = [ 18473 ];
      }`,
      'index.html': 'served from a berth',
    });
    const { name } = await up(project);
    const answer = await retry(() => fetch('http://127.0.0.1:18473/'));
    expect(await answer.text()).toBe('served from a berth');
    let log = '';
    for await (const { data } of flow.service.logs(name, { follow: false })) log += Buffer.from(data).toString();
    expect(log).toContain('"GET / HTTP/1.1" 200');
    await flow.service.stop(name, 2000);
    expect((await flow.service.get(name)).state).toBe('stopped');
    await expect(fetch('http://127.0.0.1:18473/')).rejects.toThrow();
    await flow.service.start(name, flow.context('start'));
    expect(await (await retry(() => fetch('http://127.0.0.1:18473/'))).text()).toBe('served from a berth');
    await flow.service.remove(name);
    await expect(flow.service.get(name)).rejects.toMatchObject({ code: 'BERTH_UNKNOWN' });
  });

  test('gives the container a network of its own, with a way out and none to the host’s loopback', async () => {
    const server = createServer((socket) => socket.end('secret')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const project = await flow.project({ 'config.nix': tools });
    const { name } = await up(project);
    const agent = await agentOf(name);
    expect((await runIn(agent, ['cat', '/proc/net/dev'])).stdout).toContain('tap0');
    expect((await runIn(agent, ['cat', '/proc/net/route'])).stdout.split('\n')[1]).toMatch(/^tap0\s+00000000/);
    const connect = `import socket,sys; s=socket.create_connection((sys.argv[1], ${port}), 2); print(s.recv(9))`;
    for (const host of ['10.0.2.2', '127.0.0.1']) {
      expect((await runIn(agent, ['python3', '-c', connect, host])).code).not.toBe(0);
    }
    server.close();
  });

  test('of another project under a name that is taken is refused', async () => {
    const one = await flow.project({ 'config.nix': tools });
    const two = await flow.project({ 'config.nix': tools });
    await flow.service.up({ path: one, name: 'mine' }, flow.context('one'));
    await expect(flow.service.up({ path: two, name: 'mine' }, flow.context('two'))).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
  });
});

describe('run', () => {
  test('makes a berth for one command, which is gone when it is removed', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const berth = await flow.service.run({ path: project }, flow.context('run'));
    expect(await runIn(berth.agentSocket, ['sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    await flow.service.remove(berth.id);
    expect(existsSync(berth.agentSocket)).toBe(false);
    expect(await flow.service.list()).not.toContainEqual(expect.objectContaining({ id: berth.id }));
  });

  test('runs the shellHook before the command', async () => {
    const project = await flow.project({
      'config.nix': '{ pkgs, ... }: { packages = [ pkgs.bash ]; shellHook = "export FROM_HOOK=yes"; }',
    });
    const berth = await flow.service.run({ path: project }, flow.context('hook'));
    expect((await runIn(berth.agentSocket, ['sh', '-c', 'echo $FROM_HOOK'])).stdout).toBe('yes\n');
    await flow.service.remove(berth.id);
  });
});

describe('a restart of the daemon', () => {
  test('keeps environments, berths and what runs in them', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const { name, id } = await up(project);
    const agent = await agentOf(name);
    await runIn(agent, ['sh', '-c', 'echo kept > /tmp/mark']);
    await flow.restart();
    expect((await flow.service.get(name)).state).toBe('running');
    expect((await runIn(agent, ['cat', '/tmp/mark'])).stdout).toBe('kept\n');
    const again = await up(project);
    expect(again.id).toBe(id);
    expect(again.cache.environment).toBe('hit');
  });

  test('removes what a cut-off command left, and knows a berth whose container died with the machine', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const left = await flow.service.run({ path: project }, flow.context('left'));
    const { name, id } = await up(project);
    // As after a power cut: the container's first process is gone, nothing was told.
    killContainer(id);
    await flow.restart();
    expect(existsSync(left.agentSocket)).toBe(false);
    expect((await flow.service.get(name)).state).not.toBe('running');
    await flow.service.start(name, flow.context('again'));
    expect((await runIn(await agentOf(name), ['python3', '-c', 'print(1)'])).stdout).toBe('1\n');
  });
});

describe('what a config reads', () => {
  /** The config is evaluated, then changed by `change`: explain names what changed, and `up` has the new value. */
  async function expectStale(files: Record<string, string>, change: (project: string) => void, named: RegExp) {
    const project = await flow.project(files);
    const before = await flow.service.environment({ path: project }, flow.context('before'));
    expect((await flow.service.explain({ path: project }, flow.context('explain'))).stages[0]).toMatchObject({
      verdict: 'hit',
    });
    change(project);
    const [trace] = (await flow.service.explain({ path: project }, flow.context('explain'))).stages;
    expect(trace).toMatchObject({ stage: 'trace', verdict: 'miss' });
    expect(trace?.reason).toMatch(named);
    const after = await flow.service.environment({ path: project }, flow.context('after'));
    expect(after.cache.environment).toBe('miss');
    expect(after.environment.variables['X']).not.toBe(before.environment.variables['X']);
  }

  const reading = (expression: string) => `{ pkgs, ... }: { env.X = ${expression}; }`;

  test('as JSON: an edit of equal size and time is seen', () =>
    expectStale(
      { 'config.nix': reading('(builtins.fromJSON (builtins.readFile ./x.json)).x'), 'x.json': '{"x":"1"}' },
      (project) => {
        const file = join(project, 'x.json');
        const { atime, mtime } = statSync(file);
        writeFileSync(file, '{"x":"2"}');
        utimesSync(file, atime, mtime);
      },
      /x\.json has another content/,
    ));

  test('as an import that imports', () =>
    expectStale(
      { 'config.nix': reading('import ./a.nix'), 'a.nix': 'import ./b.nix', 'b.nix': '"1"' },
      (project) => writeFileSync(join(project, 'b.nix'), '"2"'),
      /b\.nix has another content/,
    ));

  test('as a listing: a new file is seen', () =>
    expectStale(
      { 'config.nix': reading('toString (builtins.attrNames (builtins.readDir ./.))') },
      (project) => writeFileSync(join(project, 'new'), ''),
      /has other entries/,
    ));

  test('as a file that was not there and appears', () =>
    expectStale(
      { 'config.nix': reading('if builtins.pathExists ./later then "yes" else "no"') },
      (project) => writeFileSync(join(project, 'later'), ''),
      /later was not there and now is/,
    ));

  test('through a link: another target is seen', async () => {
    const project = await flow.project({ 'config.nix': reading('builtins.readFile ./link'), one: '1', two: '2' });
    symlinkSync('one', join(project, 'link'));
    expect((await flow.service.environment({ path: project }, flow.context('l'))).environment.variables['X']).toBe('1');
    rmSync(join(project, 'link'));
    symlinkSync('two', join(project, 'link'));
    expect((await flow.service.environment({ path: project }, flow.context('l'))).environment.variables['X']).toBe('2');
  });

  test('as a variable that was passed', async () => {
    const project = await flow.project({ 'config.nix': reading('builtins.getEnv "WHO"') });
    const as = (who: string) =>
      flow.service.environment({ path: project, passEnv: { WHO: who, OTHER: who } }, flow.context('env'));
    expect((await as('me')).environment.variables['X']).toBe('me');
    expect((await as('me')).cache.environment).toBe('hit');
    const { stages } = await flow.service.explain({ path: project, passEnv: { WHO: 'you' } }, flow.context('e'));
    expect(stages[0]?.reason).toBe('variable WHO was "me", is "you"');
    expect((await as('you')).environment.variables['X']).toBe('you');
  });
});

describe('a failure', () => {
  const expectNothingMade = async (project: string) => {
    expect((await flow.service.list()).filter((berth) => berth.directory === project)).toEqual([]);
    expect(readdirSync(project).sort()).toEqual(['berth.lock', 'config.nix']);
  };

  test('for an unknown package names the nearest and the line', async () => {
    const project = await flow.project({
      'config.nix': '{ pkgs, ... }: {\n  packages = [\n    pkgs.ripgrepp\n  ];\n}\n',
    });
    await expect(up(project)).rejects.toMatchObject({
      code: 'UNKNOWN_PACKAGE',
      location: { file: join(project, 'config.nix'), line: 3 },
      hint: expect.stringContaining('ripgrep') as unknown,
    });
    await expectNothingMade(project);
  });

  test('to add a package that there is none of leaves the config as it is', async () => {
    const project = await flow.project({ 'config.nix': tools });
    const add = (name: string) => flow.service.addPackages(project, [name], flow.context('add'));
    await expect(add('ripgrepp')).rejects.toMatchObject({ code: 'UNKNOWN_PACKAGE' });
    expect(readFileSync(join(project, 'config.nix'), 'utf8')).toBe(tools);
    expect((await add('jq')).names).toEqual(['jq']);
    expect(readFileSync(join(project, 'config.nix'), 'utf8')).toContain('pkgs.ripgrep pkgs.jq ]');
  });

  test('of a build leaves no berth, and the next try with a mended config works', async () => {
    const project = await flow.project({
      'config.nix': '{ pkgs, ... }: { packages = [ (pkgs.runCommand "broken" { } "echo why; exit 3") ]; }',
    });
    await expect(up(project)).rejects.toMatchObject({ code: 'BUILD_FAILED' });
    await expectNothingMade(project);
    writeFileSync(join(project, 'config.nix'), tools);
    expect((await up(project)).state).toBe('ready');
  });

  test('by cancelling ends the work at once and leaves nothing', async () => {
    const project = await flow.project({
      'config.nix': `{ pkgs, ... }: { packages = [ (pkgs.runCommand "slow-${Math.random()}" { } "sleep 60; mkdir $out") ]; }`,
    });
    const controller = new AbortController();
    const pending = flow.service.up({ path: project }, flow.context('cancel', controller.signal));
    setTimeout(() => controller.abort(), 1500);
    const start = performance.now();
    await expect(pending).rejects.toThrow();
    expect(performance.now() - start).toBeLessThan(20_000);
    await expectNothingMade(project);
  });
});

test('a project folder with blanks in its name works', async () => {
  const project = await flow.project({ 'config.nix': tools });
  const odd = join(project, 'a b');
  mkdirSync(odd);
  writeFileSync(join(odd, 'config.nix'), tools);
  writeFileSync(join(odd, 'berth.lock'), readFileSync(join(project, 'berth.lock')));
  const result = await up(odd);
  expect(result.name).toBe('a-b');
  expect((await runIn(await agentOf(result.name), ['ls'])).stdout).toContain('config.nix');
});

/** Kills the first process of a berth by what the kernel says of it: the process whose root has that run folder's agent. */
function killContainer(id: string): void {
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const mounts = readFileSync(`/proc/${entry}/mountinfo`, 'utf8');
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      if (mounts.includes(`/berths/${id}/run /run/berth `) && /^NSpid:\s+\d+\s+1$/m.test(status)) {
        process.kill(Number(entry), 'SIGKILL');
        return;
      }
    } catch {
      // A process that ended meanwhile.
    }
  }
  throw new Error(`No process of berth ${id} was found.`);
}

async function retry<T>(work: () => Promise<T>, ms = 10_000): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
