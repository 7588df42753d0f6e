import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { storeEntries } from './store-entries.ts';
import { type TarEntry, tarStream } from './tar-stream.ts';
import { treeEntries } from './tree-entries.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tar-'));
});
afterEach(() => {
  execFileSync('chmod', ['-R', 'u+w', folder]);
  rmSync(folder, { recursive: true });
});

async function bytesOf(entries: Iterable<TarEntry> | AsyncIterable<TarEntry>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of tarStream(entries)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** What GNU tar makes of the archive: type and mode, owner, size, time, path. */
function listed(archive: Buffer): string[] {
  const text = execFileSync('tar', ['--utc', '--numeric-owner', '--full-time', '-tvf', '-'], {
    input: archive,
    encoding: 'utf8',
  });
  return text
    .trim()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '));
}

const hashPart = '0123456789abcdfghijklmnpqrsvwxyz';

describe('tarStream', () => {
  test('writes what GNU tar reads, with one owner and one time', async () => {
    const archive = await bytesOf(
      treeEntries({
        'etc/passwd': { content: 'root:x:0:0::/:/bin/sh\n' },
        'bin/run': { content: '#!/bin/sh\n', mode: 0o755 },
        usr: { target: 'nix/store/fhs/usr' },
        tmp: { directory: true, mode: 0o1777 },
      }),
    );
    expect(listed(archive)).toEqual([
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:01 bin/',
      '-rwxr-xr-x 0/0 10 1970-01-01 00:00:01 bin/run',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:01 etc/',
      '-rw-r--r-- 0/0 22 1970-01-01 00:00:01 etc/passwd',
      'drwxrwxrwt 0/0 0 1970-01-01 00:00:01 tmp/',
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00:01 usr -> nix/store/fhs/usr',
    ]);
  });

  test('keeps its bytes: a change of them changes every layer digest and needs a new layerWriterVersion', async () => {
    const archive = await bytesOf(
      treeEntries({
        [`${'long/'.repeat(30)}name`]: { content: 'x' },
        short: { target: 'y'.repeat(150) },
        größe: { content: new Uint8Array(513) },
      }),
    );
    expect(digestOf(archive)).toBe('sha256:d32dd7889b81624be60625eba784ce7adda2ff3fb5065b46604ec18814bfffcb');
  });

  test('takes names that every object has', () => {
    const tree = { 'toString/a': { content: new Uint8Array() }, constructor: { directory: true } } as const;
    expect(treeEntries(tree).map(({ path }) => path.toString())).toEqual(['constructor', 'toString', 'toString/a']);
  });

  test('gives back long, odd and non-ASCII names through GNU tar', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.tuple(
            fc.array(
              fc.stringMatching(/^[a-zA-Zäß雪 ._=-]{1,60}$/).filter((part) => !/^\.\.?$/.test(part)),
              {
                minLength: 1,
                maxLength: 5,
              },
            ),
            fc.uint8Array({ maxLength: 1500 }),
          ),
          { minLength: 1, maxLength: 4, selector: ([parts]) => parts[0] },
        ),
        async (files) => {
          const tree = Object.fromEntries(files.map(([parts, content]) => [parts.join('/'), { content }]));
          const archive = await bytesOf(treeEntries(tree));
          for (const [path, { content }] of Object.entries(tree)) {
            const back = execFileSync('tar', ['-xOf', '-', '--no-wildcards', '--', path], { input: archive });
            expect(back.equals(content)).toBe(true);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  test('gives the size of a file beyond 8 GiB in a pax header', async () => {
    const size = 9 * 2 ** 30;
    const first = tarStream([
      { type: 'file', path: Buffer.from('big'), mode: 0o444, size, content: async function* () {} },
    ]);
    const header = Buffer.from((await first.next()).value ?? []);
    expect(header.toString('latin1')).toContain(`size=${size}\n`);
  });

  test('refuses a file whose content is longer or shorter than its size', async () => {
    for (const length of [3, 5]) {
      const entry: TarEntry = {
        type: 'file',
        path: Buffer.from('f'),
        mode: 0o444,
        size: 4,
        content: () => ReadableStream.from([new Uint8Array(length)]),
      };
      await expect(bytesOf([entry])).rejects.toMatchObject({ code: 'LAYER_UNREADABLE' });
    }
  });
});

describe('storeEntries', () => {
  function fill(store: string, name: string): void {
    const path = join(store, name);
    mkdirSync(join(path, 'bin'), { recursive: true });
    writeFileSync(join(path, 'bin/tool'), 'run');
    chmodSync(join(path, 'bin/tool'), 0o755);
    writeFileSync(join(path, 'bin.txt'), 'text');
    writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff, 0x41])]), 'odd');
    writeFileSync(join(path, 'large'), Buffer.alloc(200_000, 7));
    symlinkSync('../bin/tool', join(path, 'link'));
  }

  test('gives the same bytes for another order, other owners, times, modes and hard links', async () => {
    const names = [`${hashPart}-b-1`, `${hashPart}-a-1`];
    const one = join(folder, 'one');
    const two = join(folder, 'two');
    for (const name of names) fill(one, name);
    for (const name of [...names].reverse()) fill(two, name);
    chmodSync(join(two, names[0]!, 'bin.txt'), 0o400);
    chmodSync(join(two, names[0]!, 'bin'), 0o700);
    utimesSync(join(two, names[1]!, 'large'), 5, 5);
    rmSync(join(two, names[1]!, 'bin.txt'));
    linkSync(join(two, names[0]!, 'bin.txt'), join(two, names[1]!, 'bin.txt'));

    const paths = names.map((name) => `/nix/store/${name}`);
    const first = await bytesOf(storeEntries(one, paths));
    const second = await bytesOf(storeEntries(two, [...paths].reverse()));
    expect(first.equals(second)).toBe(true);
    expect(listed(first).slice(0, 8)).toEqual([
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:01 nix/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00:01 nix/store/',
      `dr-xr-xr-x 0/0 0 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/`,
      `dr-xr-xr-x 0/0 0 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/bin/`,
      `-r-xr-xr-x 0/0 3 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/bin/tool`,
      `-r--r--r-- 0/0 4 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/bin.txt`,
      `-r--r--r-- 0/0 200000 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/large`,
      `lrwxrwxrwx 0/0 0 1970-01-01 00:00:01 nix/store/${hashPart}-a-1/link -> ../bin/tool`,
    ]);
    expect(listed(first)[8]).toContain('\\377A');
  });

  test('names a path that is not there', async () => {
    const missing = bytesOf(storeEntries(folder, [`/nix/store/${hashPart}-gone-1`]));
    await expect(missing).rejects.toThrow(BerthError);
    await expect(missing).rejects.toMatchObject({ code: 'LAYER_UNREADABLE' });
  });

  test('refuses what a store cannot hold', async () => {
    mkdirSync(join(folder, `${hashPart}-p-1`));
    execFileSync('mkfifo', [join(folder, `${hashPart}-p-1/pipe`)]);
    await expect(bytesOf(storeEntries(folder, [`/nix/store/${hashPart}-p-1`]))).rejects.toThrow(/neither a file/);
  });
});

test('treeEntries refuses paths that leave the image or lie below a file', () => {
  for (const path of ['/etc', 'a/../b', 'a//b', '']) {
    expect(() => treeEntries({ [path]: { content: '' } })).toThrow(/no path within an image/);
  }
  expect(() => treeEntries({ a: { content: '' }, 'a/b': { content: '' } })).toThrow(/lies below/);
});
