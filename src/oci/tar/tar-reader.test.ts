import { spawnSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { memberHeaders, type TarMember } from './tar-member.ts';
import { readTar } from './tar-reader.ts';

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

async function all(bytes: Uint8Array, size = 700) {
  const found: (TarMember & { text: string })[] = [];
  for await (const member of readTar(inPieces(bytes, size))) {
    const pieces: Uint8Array[] = [];
    for await (const piece of member.content()) pieces.push(Buffer.from(piece));
    found.push({ ...member, text: Buffer.concat(pieces).toString('utf8') });
  }
  return found;
}

const plain: TarMember = {
  ...{ type: 'file', path: Buffer.from('a'), target: Buffer.alloc(0), mode: 0o644, uid: 0, gid: 0, mtime: 1, size: 0 },
  ...{ device: { major: 0, minor: 0 }, xattrs: new Map() },
} as const;

for (const format of ['gnu', 'pax', 'ustar', 'v7']) {
  test(`reads what GNU tar writes as ${format}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-tar-'));
    try {
      const long = format === 'gnu' || format === 'pax' ? 'n'.repeat(180) : 'n';
      mkdirSync(join(folder, 'd'));
      writeFileSync(join(folder, 'd', long), 'x'.repeat(1500));
      chmodSync(join(folder, 'd', long), 0o4711);
      linkSync(join(folder, 'd', long), join(folder, 'hard'));
      symlinkSync(`${long}/to`, join(folder, 'soft'));
      const args = [`--format=${format}`, '-c', '-C', folder, 'd', 'hard', 'soft'];
      const { stdout, status } = spawnSync('tar', args, { maxBuffer: 1e7 });
      expect(status).toBe(0);
      for (const size of [1, 511, 4096, stdout.length]) {
        const found = await all(stdout, size);
        expect(found.map(({ type, path, target, text }) => [type, String(path), String(target), text.length])).toEqual([
          ['directory', 'd/', '', 0],
          ['file', `d/${long}`, '', 1500],
          ['link', 'hard', `d/${long}`, 0],
          ['symlink', 'soft', `${long}/to`, 0],
        ]);
        expect(found[1]?.mode).toBe(0o4711);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

test('gives back what it writes itself: bytes that are no text, large numbers, attributes', async () => {
  const members: TarMember[] = [
    { ...plain, path: Buffer.concat([Buffer.alloc(120, 'p'), Buffer.from([0xff, 0xfe])]), uid: 3_000_000, mtime: -5 },
    { ...plain, type: 'symlink', path: Buffer.from('b'), target: Buffer.alloc(300, 0xe4) },
    {
      ...plain,
      path: Buffer.from('c'),
      xattrs: new Map([['security.capability', Buffer.from([1, 0, 0, 2, 0, 0xf4, 10])]]),
    },
    { ...plain, type: 'character', path: Buffer.from('d'), device: { major: 1, minor: 3 } },
  ];
  const found = await all(Buffer.concat([...members.map(memberHeaders), Buffer.alloc(1024)]));
  expect(found).toMatchObject(members);
});

test('refuses what is no tar, what ends early, sparse files, and headers without end', async () => {
  const refused = async (bytes: Uint8Array) => expect(all(bytes)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  await refused(Buffer.alloc(512, 'x'));
  await refused(memberHeaders({ ...plain, size: 100 }));
  await refused(Buffer.concat([memberHeaders({ ...plain, size: 100 }), Buffer.alloc(50)]));
  const sparse = Buffer.from(memberHeaders(plain));
  sparse[156] = 0x53;
  await refused(sparse);
  const attributes = new Map([['user.x', Buffer.alloc(5 * 1024 * 1024)]]);
  await refused(memberHeaders({ ...plain, xattrs: attributes }));
  expect(await all(Buffer.alloc(0))).toEqual([]);
});
