/** Locking and preparing a suite: what is trusted, what is kept, and how it fails. The archive is the test's own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BerthEvent } from '../../src/core/events.ts';
import { createNixProcess, programsIn } from '../../src/nix/nix-process.ts';
import { physicalPath, type Store } from '../../src/nix/store.ts';
import type { DebianMirrors } from '../../src/sources/debian/mirrors.ts';
import { debianPinSchema } from '../../src/sources/debian/pin.ts';
import { createDebianSource, type DebianSourceOptions } from '../../src/sources/debian/source.ts';
import { nixStorePaths } from '../../src/sources/debian/store-paths.ts';
import type { LockedSource, Source } from '../../src/sources/source.ts';
import { type ArchiveSuite, type DebianArchive, makeDebianArchive, tamper } from '../support/debian-archive.ts';
import { type HttpFolder, serveFolder } from '../support/http-folder.ts';

const stable: ArchiveSuite = {
  suite: 'stable',
  date: 'Sat, 11 Jul 2026 10:16:37 UTC',
  components: {
    main: [
      'Package: tool\nVersion: 1.0-1\nArchitecture: amd64\nDepends: libc | libother, virtual (>= 2)\nDescription: does things',
      'Package: libc\nVersion: 2\nArchitecture: amd64',
      'Package: provider\nVersion: 1\nArchitecture: all\nProvides: virtual (= 2)',
    ],
    'non-free': ['Package: paid\nVersion: 1\nArchitecture: amd64\nDepends: absent'],
  },
};
const updates: ArchiveSuite = {
  suite: 'stable-updates',
  date: 'Sun, 12 Jul 2026 00:00:00 UTC',
  components: { main: ['Package: tool\nVersion: 1.0-1+deb1u1\nArchitecture: amd64\nDescription: does things better'] },
};

let root: string;
let archive: DebianArchive;
let server: HttpFolder;
let served: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-archive-'));
  archive = await makeDebianArchive(root);
  await archive.publish([stable, updates, { ...stable, suite: 'old', validUntil: 'Sun, 12 Jul 2026 00:00:00 UTC' }]);
});
afterAll(() => {
  execFileSync('chmod', ['-R', 'u+w', root]);
  rmSync(root, { recursive: true, force: true });
});
beforeEach(async () => {
  served = mkdtempSync(join(root, 'served-'));
  await cp(archive.folder, served, { recursive: true });
  server = await serveFolder(served);
});
afterEach(() => server.close());

/** A host: a store and a home of its own. */
class Host {
  readonly home = mkdtempSync(join(root, 'host-'));
  readonly store: Store = { kind: 'managed', root: join(this.home, 'store') };
  readonly events: BerthEvent[] = [];
  readonly context = { emit: (event: BerthEvent) => void this.events.push(event) };
  readonly folder = join(this.home, 'debian');

  source(options: Partial<DebianSourceOptions> = {}): Source {
    const nix = createNixProcess({
      store: this.store,
      programs: programsIn(),
      home: join(this.home, 'nix'),
      settings: { substituters: [], trustedPublicKeys: [] },
      environment: { PATH: process.env['PATH'] ?? '' },
    });
    return createDebianSource({
      store: this.store,
      storePaths: nixStorePaths(nix),
      folder: this.folder,
      mirrors: () => Promise.resolve(mirrorAt(server.url)),
      keyrings: [archive.keyring],
      ...options,
    });
  }

  lock(suite = 'stable', options: Partial<DebianSourceOptions> = {}): Promise<LockedSource> {
    return this.source(options).lock({ suite }, this.context);
  }

  /** Whatever lies around in the source's folder that is not meant to be kept. */
  leftovers(): string[] {
    const names = readdirSync(this.home, { recursive: true, encoding: 'utf8' });
    return names.filter((name) => /(^|\/)new-[^/]*$|\.tmp$/.test(name));
  }
}

function mirrorAt(...urls: string[]): DebianMirrors {
  return { main: urls, security: [] };
}

function indexOf(host: Host, locked: LockedSource): string {
  return physicalPath(host.store, debianPinSchema.parse(locked.pin).index.path);
}

describe('lock', () => {
  test('takes the newest of the pockets, resolved, and names itself by the newest date', async () => {
    const host = new Host();
    const locked = await host.lock();
    expect(locked.label).toBe('stable 2026-07-12');
    const files = execFileSync('cat', [join(indexOf(host, locked), 'shards/0.json')], { encoding: 'utf8' });
    expect(JSON.parse(files)).toMatchObject({
      tool: { version: '1.0-1+deb1u1', component: 'main' },
      paid: { unmet: ['absent'], component: 'non-free' },
    });
    expect(host.leftovers()).toEqual([]);
  });

  test('gives the same bytes on every host', async () => {
    const [one, two] = [new Host(), new Host()];
    expect((await one.lock()).pin).toEqual((await two.lock()).pin);
  });

  test('a second lock downloads only what may have changed', async () => {
    const host = new Host();
    await host.lock();
    server.requests.length = 0;
    await host.lock();
    expect(server.requests.sort()).toEqual(['/dists/stable-updates/InRelease', '/dists/stable/InRelease']);
  });

  test('takes another mirror when the first has gone', async () => {
    const host = new Host();
    const mirrors = () => Promise.resolve(mirrorAt('http://127.0.0.1:9', server.url));
    expect((await host.lock('stable', { mirrors })).label).toBe('stable 2026-07-12');
  });
});

describe('lock refuses', () => {
  const inRelease = () => join(served, 'dists/stable/InRelease');
  const cases: readonly [string, string, string, () => Promise<Partial<DebianSourceOptions>>][] = [
    [
      'a changed Release file',
      'SIGNATURE_INVALID',
      'stable',
      async () => {
        await tamper(inRelease(), (text) => text.replace('Sat, 11 Jul', 'Sun, 12 Jul'));
        return {};
      },
    ],
    [
      'a Release file that is not signed',
      'SIGNATURE_INVALID',
      'stable',
      async () => {
        await cp(join(served, 'dists/stable/Release'), inRelease());
        return {};
      },
    ],
    [
      'a key that is not in the keyring',
      'SIGNATURE_INVALID',
      'stable',
      () => Promise.resolve({ keyrings: ['/usr/share/keyrings/debian-archive-keyring.gpg'] }),
    ],
    ['a Release file that has expired', 'RELEASE_EXPIRED', 'old', () => Promise.resolve({})],
    ['a suite that is not there', 'SUITE_UNKNOWN', 'absent', () => Promise.resolve({})],
    ['a name that is no suite', 'SUITE_UNKNOWN', '../../etc', () => Promise.resolve({})],
    [
      'package lists that are not what was signed',
      'HASH_MISMATCH',
      'stable',
      async () => {
        const folder = join(served, 'dists/stable/main/binary-amd64');
        rmSync(join(folder, 'by-hash'), { recursive: true });
        await tamper(join(folder, 'Packages.gz'), (bytes) => `${bytes}x`);
        return {};
      },
    ],
    [
      'a busybox that is not the one in the list',
      'HASH_MISMATCH',
      'stable',
      async () => {
        await tamper(join(served, 'pool/busybox-static.deb'), (bytes) => bytes.replace('control', 'contr0l'));
        return {};
      },
    ],
    [
      'a mirror that does not answer',
      'MIRROR_UNREACHABLE',
      'stable',
      () => Promise.resolve({ mirrors: () => Promise.resolve(mirrorAt('http://127.0.0.1:9')) }),
    ],
    [
      'to guess a mirror where none is known',
      'MIRROR_UNREACHABLE',
      'stable',
      () => Promise.resolve({ mirrors: () => Promise.resolve(mirrorAt()) }),
    ],
  ];
  test.each(cases)('%s: %s', async (_what, code, suite, prepare) => {
    const host = new Host();
    await expect(host.lock(suite, await prepare())).rejects.toMatchObject({ code });
    expect(host.leftovers()).toEqual([]);
  });

  test('an expired Release file passes with a warning where the settings say so', async () => {
    const host = new Host();
    expect((await host.lock('old', { checkValidUntil: false })).label).toBe('old 2026-07-11');
    expect(host.events.filter((event) => event.type === 'warning')).toHaveLength(1);
  });

  test('to go on when the caller has gone', async () => {
    const host = new Host();
    const signal = AbortSignal.abort();
    await expect(host.source().lock({ suite: 'stable' }, { ...host.context, signal })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(host.leftovers()).toEqual([]);
  });

  test('to leave half of an index on a full disk: DISK_FULL', async (context) => {
    context.skip(process.getuid?.() !== 0, 'only root can mount a small disk');
    const host = new Host();
    mkdirSync(host.folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', host.folder]);
    try {
      await expect(host.lock()).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect(host.leftovers()).toEqual([]);
    } finally {
      execFileSync('umount', [host.folder]);
    }
  });
});

describe('prepare', () => {
  test('needs no network where the index is in the store', async () => {
    const host = new Host();
    const locked = await host.lock();
    await server.close();
    const prepared = await host.source().prepare(locked, host.context);
    expect(prepared.storePaths).toHaveLength(2);
    expect(prepared.nix).toMatchObject({ suite: 'stable', system: 'x86_64-linux', mirrors: { main: [server.url] } });
  });

  test('makes the same index on another host, also after the mirror went on', async () => {
    const locked = await new Host().lock();
    const next = { ...stable, date: 'Mon, 13 Jul 2026 00:00:00 UTC', components: { main: [] } };
    await archive.publish([next]);
    // The mirror has the new release; by their hashes the old lists are still there.
    await cp(join(archive.folder, 'dists'), join(served, 'dists'), { recursive: true });
    const host = new Host();
    const prepared = await host.source().prepare(locked, host.context);
    expect(prepared.storePaths[0]).toBe(debianPinSchema.parse(locked.pin).index.path);
    // Once they have gone too, only a snapshot archive can help; the error says so.
    rmSync(join(served, 'dists/stable/main/binary-amd64/by-hash'), { recursive: true });
    await expect(new Host().source().prepare(locked, host.context)).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
      hint: expect.stringContaining('snapshot') as unknown,
    });
    await archive.publish([stable]);
  });

  test('asks a snapshot archive for the locked moment', async () => {
    const locked = await new Host().lock();
    rmSync(join(served, 'dists'), { recursive: true });
    for (const moment of ['20260711T101637Z', '20260712T000000Z']) {
      await cp(archive.folder, join(served, moment), { recursive: true });
    }
    const host = new Host();
    const mirrors = () => Promise.resolve(mirrorAt(server.url, `${server.url}/{timestamp}`));
    const prepared = await host.source({ mirrors }).prepare(locked, host.context);
    expect(prepared.nix['mirrors']).toMatchObject({ main: [server.url, `${server.url}/20260712T000000Z`] });
  });

  test('refuses a lock that is not valid', async () => {
    const host = new Host();
    const locked = await host.lock();
    const broken = { ...locked, pin: { ...locked.pin, index: { path: '/etc/passwd', narHash: '' } } };
    await expect(host.source().prepare(broken, host.context)).rejects.toMatchObject({ code: 'LOCK_INVALID' });
  });

  test('refuses an index that is not the locked one', async () => {
    const host = new Host();
    const locked = await host.lock();
    const pin = debianPinSchema.parse(locked.pin);
    const path = pin.index.path.replace(/store\/./, 'store/0') as typeof pin.index.path;
    const other = { ...locked, pin: { ...pin, index: { ...pin.index, path } } };
    await expect(host.source().prepare(other, host.context)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
  });
});

test('search and nearest read the locked index', async () => {
  const host = new Host();
  const locked = await host.lock();
  expect(await host.source().search(locked, 'things', 5, host.context)).toEqual([
    { name: 'tool', version: '1.0-1+deb1u1', description: 'does things better', source: 'debian stable' },
  ]);
  expect(await host.source().nearest(locked, 'tol', host.context)).toEqual(['tool']);
  expect(await readFile(join(indexOf(host, locked), 'names.json'), 'utf8')).toContain('"tool"');
});
