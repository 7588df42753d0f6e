/** Builds and downloads: progress, what fails and how, and that nothing is left of what was cancelled. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BerthError } from '../../src/core/errors.ts';
import type { BerthEvent } from '../../src/core/events.ts';
import { createStoreDatabase } from '../../src/nix/closure.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import { serveFolder, type HttpFolder } from '../support/http-folder.ts';
import { makeNixFixture, repository, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let server: HttpFolder;

beforeAll(async () => {
  fixture = await makeNixFixture();
  mkdirSync(join(fixture.root, 'www'));
  server = await serveFolder(join(fixture.root, 'www'));
});
afterAll(async () => {
  await server.close();
  await fixture.close();
});

/** Instantiates an expression over `pkgs`. @returns its derivation */
async function instantiate(expression: string, nix: Nix = fixture.nix): Promise<string> {
  const tree = fixture.source.storePaths[0]!.replace('/nix/store', join(nix.store.root, 'nix/store'));
  const whole = `let pkgs = import ${tree} { }; in ${expression}`;
  return (await nix.process.require('nix-instantiate', ['--expr', whole])).trim();
}

async function failureOf(work: Promise<unknown>): Promise<BerthError> {
  return work.then(
    () => {
      throw new Error('It succeeded.');
    },
    (error: unknown) => error as BerthError,
  );
}

const fetchurl = (url: string, hash: string) => `derivation {
  name = "fetched"; system = "builtin"; builder = "builtin:fetchurl"; url = "${url}"; urls = [ "${url}" ];
  outputHash = "${hash}"; outputHashAlgo = "sha256"; outputHashMode = "flat"; executable = false; unpack = false;
}`;

describe('a build', () => {
  it('tells what it does, and does nothing the second time', async () => {
    const events: BerthEvent[] = [];
    const drv = await instantiate('pkgs.hello');
    const first = await fixture.nix.realise([drv], { emit: (event) => events.push(event) });
    const started = events.flatMap((event) => (event.type === 'derivation.started' ? [event.derivation] : []));
    const finished = events.flatMap((event) => (event.type === 'derivation.finished' ? [event.derivation] : []));
    expect(started).toContain(drv);
    expect([...finished].sort()).toEqual([...started].sort());
    expect(first.built).toBe(started.length);
    expect(events.filter((event) => event.type === 'progress').at(-1)).toMatchObject({
      phase: 'build',
      unit: 'paths',
      done: started.length,
      total: started.length,
    });
    expect(await fixture.nix.realise([drv])).toEqual({ paths: first.paths, built: 0 });
  });

  it('that fails gives the derivation, the last lines and the whole log', async () => {
    const logFile = join(fixture.root, 'log/failing.log');
    const lines: string[] = [];
    const drv = await instantiate('pkgs.failing');
    const error = await failureOf(fixture.nix.realise([drv], { logFile, onLog: ({ line }) => lines.push(line) }));
    expect(error).toMatchObject({
      code: 'BUILD_FAILED',
      message: 'The build of failing-1.0 failed with exit code 7.',
      details: { derivation: drv, log: ['about to fail', 'the reason is here'], logFile },
    });
    expect(lines).toEqual(['about to fail', 'the reason is here']);
    expect(readFileSync(logFile, 'utf8')).toBe('failing-1.0> about to fail\nfailing-1.0> the reason is here\n');
  });

  it('that fails names itself, not what needed it', async () => {
    const drv = await instantiate('pkgs.mkShell { packages = [ pkgs.failing ]; }');
    const error = await failureOf(fixture.nix.realise([drv]));
    expect(error.message).toBe('The build of failing-1.0 failed with exit code 7.');
  });

  it('that takes too long is ended', async () => {
    const { store } = fixture.nix;
    const nix = createNix({
      store,
      nixFolder: join(repository, 'nix'),
      home: join(fixture.root, 'impatient'),
      settings: { substituters: [], trustedPublicKeys: [], buildTimeoutSeconds: 1 },
      environment: { PATH: process.env['PATH'] ?? '' },
    });
    const error = await failureOf(nix.realise([await instantiate('pkgs.slow')]));
    expect(error).toMatchObject({ code: 'BUILD_FAILED', message: 'The build of slow-1.0 was ended after 1 seconds.' });
  });

  it('that is cancelled ends with all its processes', async () => {
    const drv = await instantiate('pkgs.slow');
    const controller = new AbortController();
    const work = fixture.nix.realise([drv], {
      signal: controller.signal,
      onLog: ({ line }) => line === 'waiting' && controller.abort(),
    });
    expect(await failureOf(work)).toMatchObject({ code: 'CANCELLED' });
    expect(sleepers()).toEqual([]);
    // The store is not locked by what was cancelled.
    const other = await instantiate('pkgs.runCommand "after" { } "echo > $out"');
    expect((await fixture.nix.realise([other])).built).toBe(1);
  });

  it('has no network and sees nothing of the host', async () => {
    const text =
      'ls /etc/shadow /home /root 2>&1 | grep -v "No such file" && exit 1; ifconfig -a | grep -c "^[a-z]" > $out';
    const drv = await instantiate(`pkgs.runCommand "closed" { } ${JSON.stringify(text).replaceAll('$out', '\\$out')}`);
    const { paths } = await fixture.nix.realise([drv]);
    expect(readFileSync(join(fixture.root, 'store', paths[0]!), 'utf8')).toBe('1\n');
  });
});

/** @returns command lines of what the fixture's slow build runs */
function sleepers(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      } catch {
        return '';
      }
    })
    .filter((line) => line === 'sleep 600');
}

describe('a fixed-output derivation', () => {
  it('that gives other content has another hash', async () => {
    const error = await failureOf(fixture.nix.realise([await instantiate('pkgs.wrongHash')]));
    expect(error).toMatchObject({
      code: 'HASH_MISMATCH',
      details: { wanted: expect.stringMatching(/^sha256[-:]/) as string },
    });
    expect(error.message).toMatch(/^wrong-hash-1\.0 has the hash sha256/);
  });

  it('from a host that does not answer is told with the host', async () => {
    const drv = await instantiate(fetchurl('http://127.0.0.1:1/file', '0'.repeat(64)));
    expect(await failureOf(fixture.nix.realise([drv]))).toMatchObject({
      code: 'MIRROR_UNREACHABLE',
      message: expect.stringMatching(/^127\.0\.0\.1:1 could not be reached/) as string,
      details: { url: 'http://127.0.0.1:1/file' },
    });
  });

  it('that the host no longer has is told with the file', async () => {
    const drv = await instantiate(fetchurl(`${server.url}/absent`, '1'.repeat(64)));
    expect(await failureOf(fixture.nix.realise([drv]))).toMatchObject({
      code: 'DOWNLOAD_GONE',
      details: { url: `${server.url}/absent` },
    });
  });

  it('is downloaded, with its bytes told', async () => {
    writeFileSync(join(fixture.root, 'www/file'), 'x'.repeat(300_000));
    const hash = execFileSync('sha256sum', [join(fixture.root, 'www/file')], { encoding: 'utf8' }).slice(0, 64);
    const events: BerthEvent[] = [];
    const drv = await instantiate(fetchurl(`${server.url}/file`, hash));
    await fixture.nix.realise([drv], { emit: (event) => events.push(event) });
    expect(events).toContainEqual(expect.objectContaining({ type: 'progress', unit: 'bytes', done: 300_000 }));
  });
});

it("leaves the host's own store alone, even with what failed", async () => {
  const before = hostStore();
  await failureOf(fixture.nix.realise([await instantiate(fetchurl('http://127.0.0.1:1/other', '2'.repeat(64)))]));
  expect(hostStore()).toEqual(before);
});

function hostStore(): string[] {
  return existsSync('/nix/store') ? readdirSync('/nix/store') : [];
}

describe('a full disk', () => {
  it.skipIf(process.getuid?.() !== 0)('is told as such, and nothing half-made is left', async () => {
    const root = join(fixture.root, 'small');
    mkdirSync(root);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', root]);
    try {
      const nix = createNix({
        store: { kind: 'managed', root: join(root, 'store') },
        nixFolder: join(repository, 'nix'),
        home: join(fixture.root, 'small-home'),
        settings: { substituters: [], trustedPublicKeys: [] },
        environment: { PATH: process.env['PATH'] ?? '' },
      });
      await nix.addToStore(join(fixture.root, 'nixpkgs'), 'source');
      const drv = await instantiate('pkgs.runCommand "big" { } "dd if=/dev/zero of=$out bs=1M count=100"', nix);
      const error = await failureOf(nix.realise([drv]));
      expect(error, error.message).toMatchObject({ code: 'DISK_FULL' });
      expect(readdirSync(join(root, 'store/nix/store')).filter((name) => /-big$/.test(name))).toEqual([]);
      const adding = await failureOf(nix.addToStore(bigFile(), 'big'));
      expect(adding, adding.message).toMatchObject({ code: 'DISK_FULL' });
      await nix.close();
    } finally {
      execFileSync('umount', [root]);
    }
  });
});

function bigFile(): string {
  const file = join(fixture.root, 'big');
  writeFileSync(file, Buffer.alloc(30_000_000, 1));
  return file;
}

describe('the closure', () => {
  it('is what nix-store says, read from the database', async () => {
    const { paths } = await fixture.nix.realise([await instantiate('pkgs.mkShell { packages = [ pkgs.greeter ]; }')]);
    const closure = await fixture.nix.closureOf(paths);
    const real = (await fixture.nix.process.require('nix-store', ['-qR', ...paths])).trim().split('\n').sort();
    expect(closure.paths).toEqual(real);
    const sizes = await fixture.nix.process.require('nix-store', ['--query', '--size', ...real]);
    expect(closure.bytes).toBe(
      sizes
        .trim()
        .split('\n')
        .map(Number)
        .reduce((sum, size) => sum + size, 0),
    );

    // Where the database is not as known, Nix is asked.
    const elsewhere = { ...fixture.nix.process, store: { kind: 'managed', root: '/nonexistent' } as const };
    const asking = createStoreDatabase(elsewhere);
    expect(await asking.closureOf(paths)).toEqual(closure);
    expect(await asking.validPaths([...paths, '/nix/store/00000000000000000000000000000000-absent'])).toEqual(paths);
  });

  it('sees what was written since, by another process', async () => {
    const before = await fixture.nix.addToStore(bigFile(), 'before');
    expect(await fixture.nix.validPaths([before])).toEqual([before]);
    const after = await fixture.nix.addToStore(bigFile(), 'after');
    expect((await fixture.nix.closureOf([after])).paths).toEqual([after]);
  });

  it('of a path that is not there is an error', async () => {
    const absent = '/nix/store/00000000000000000000000000000000-absent';
    await expect(fixture.nix.closureOf([absent])).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await fixture.nix.closureOf([])).toEqual({ paths: [], bytes: 0 });
  });
});

describe('the daemon', () => {
  it('serves clients that it does not trust', async () => {
    const daemon = fixture.nix.daemon(join(fixture.root, 'd'));
    let other: NixFixture | undefined;
    await daemon.ensure();
    try {
      const client = (program: string, args: string[], input?: Buffer) =>
        execFileSync(program, args, {
          env: {
            PATH: process.env['PATH'],
            HOME: fixture.root,
            NIX_CONF_DIR: fixture.root,
            NIX_REMOTE: `unix://${daemon.socket}?root=${fixture.nix.store.root}`,
            NIX_CONFIG: 'experimental-features = nix-command\nsubstituters =',
          },
          encoding: 'utf8',
          stdio: ['pipe', 'pipe', 'pipe'],
          ...(input ? { input } : {}),
        });
      const built = await fixture.nix.realise([await instantiate('pkgs.cowsay')]);
      expect(client('nix-store', ['--check-validity', ...built.paths])).toBe('');
      expect(client('nix-store', ['--add', bigFile()]).trim()).toMatch(/-big$/);

      // Another store's path that nobody has signed.
      other = await makeNixFixture();
      const foreign = join(other.root, 'foreign');
      const hello = await other.nix.realise([await instantiate('pkgs.busybox', other.nix)]);
      await other.nix.copyToCache(`file://${foreign}`, hello.paths);
      await fixture.nix.collectGarbage();
      const ask = ['copy', '--no-check-sigs', '--from', `file://${foreign}`, ...hello.paths];
      expect(() => client('nix', ask)).toThrow(/lacks a (?:valid )?signature|not signed|not privileged|untrusted/);
      expect(() =>
        client('nix-store', [
          '--realise',
          ...hello.paths,
          '--option',
          'substituters',
          `file://${foreign}`,
          '--option',
          'require-sigs',
          'false',
        ]),
      ).toThrow();
      expect(await fixture.nix.validPaths(hello.paths)).toEqual([]);
    } finally {
      await other?.close();
      await daemon.stop();
    }
    expect(existsSync(daemon.socket)).toBe(false);
  });

  it('is started again when it has ended', async () => {
    const daemon = fixture.nix.daemon(join(fixture.root, 'd2'));
    await daemon.ensure();
    const first = daemon.pid!;
    process.kill(first, 'SIGKILL');
    await expect.poll(() => existsSync(`/proc/${first}/exe`)).toBe(false);
    await expect
      .poll(async () => {
        await daemon.ensure();
        return daemon.pid;
      })
      .not.toBe(first);
    await daemon.stop();
    await expect(daemon.ensure()).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});
