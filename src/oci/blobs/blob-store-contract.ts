/** What every store of blobs does: one suite, run by each adapter's test. */
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../core/digest.ts';
import { type BlobDigest, type BlobStore, writeBlob } from './blob-store.ts';

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** @param open gives the same store each time, as another process would open it */
export function testBlobStore(name: string, open: () => Promise<BlobStore>): void {
  describe(`blobs: ${name}`, () => {
    const content = Buffer.concat([Buffer.from('a blob\n'), randomBytes(3_000_000)]);
    const digest = digestOf(content);
    const absent: Digest = `sha256:${'0'.repeat(64)}`;
    const pieces = () => [content.subarray(0, 10), content.subarray(10, 1_500_000), content.subarray(1_500_000)];

    test('gives back what was written, whole and in parts, to another process too', async () => {
      const written = await writeBlob(await open(), pieces(), digest);
      expect(written).toEqual({ digest, size: content.length });
      const blobs = await open();
      expect(await blobs.size(digest)).toBe(content.length);
      expect((await bytesOf(blobs.read(digest))).equals(content)).toBe(true);
      const part = await bytesOf(blobs.read(digest, { range: { start: 5, length: 2_000_000 } }));
      expect(part.equals(content.subarray(5, 2_000_005))).toBe(true);
      const end = await bytesOf(blobs.read(digest, { range: { start: content.length - 1, length: 1 } }));
      expect(end.equals(content.subarray(-1))).toBe(true);
      expect(await bytesOf(blobs.read(digest, { range: { start: 5, length: 0 } }))).toHaveLength(0);
    });

    test('has a blob without bytes', async () => {
      const blobs = await open();
      const { digest: empty } = await writeBlob(blobs, []);
      expect(empty).toBe(digestOf(''));
      expect(await blobs.size(empty)).toBe(0);
      expect(await bytesOf(blobs.read(empty))).toHaveLength(0);
    });

    test('names blobs in sha512 when asked to', async () => {
      const blobs = await open();
      const name: BlobDigest = `sha512:${createHash('sha512').update(content).digest('hex')}`;
      await writeBlob(blobs, pieces(), name);
      expect((await bytesOf(blobs.read(name))).equals(content)).toBe(true);
      await expect(writeBlob(blobs, [Buffer.from('x')], name)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
    });

    test('says of what is not there that it is not there', async () => {
      const blobs = await open();
      expect(await blobs.size(absent)).toBeUndefined();
      await expect(bytesOf(blobs.read(absent))).rejects.toMatchObject({ code: 'BLOB_MISSING' });
      await blobs.delete(absent);
      expect(await blobs.resume('0'.repeat(32))).toBeUndefined();
      expect(await blobs.resume('../../etc/passwd')).toBeUndefined();
      await blobs.discardDraft('../../etc/passwd');
    });

    test('refuses bytes that have another digest, and shows nothing of them', async () => {
      const blobs = await open();
      await expect(writeBlob(blobs, [Buffer.from('other')], absent)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
      expect(await blobs.size(absent)).toBeUndefined();
      expect(await blobs.size(digestOf('other'))).toBeUndefined();
      expect(await listOf(blobs.drafts())).toEqual([]);
    });

    test('shows no blob before its commit, and resumes its draft in another process', async () => {
      const text = Buffer.from('written in two processes');
      const first = await (await open()).draft();
      await first.write(text.subarray(0, 7));
      await first.suspend();
      const blobs = await open();
      expect(await blobs.size(digestOf(text))).toBeUndefined();
      expect(await listOf(blobs.drafts())).toMatchObject([{ id: first.id, size: 7 }]);
      const second = await blobs.resume(first.id);
      expect(second).toBeDefined();
      if (!second) return;
      expect(second.size).toBe(7);
      expect(second.digest()).toBe(digestOf(text.subarray(0, 7)));
      await second.write(text.subarray(7));
      await second.commit(digestOf(text));
      await second.discard();
      expect((await bytesOf(blobs.read(digestOf(text)))).equals(text)).toBe(true);
      expect(await listOf(blobs.drafts())).toEqual([]);
    });

    test('takes the same blob twice at once', async () => {
      const blobs = await open();
      const text = Buffer.from('twice');
      await Promise.all([writeBlob(blobs, [text]), writeBlob(blobs, [text])]);
      expect((await bytesOf(blobs.read(digestOf(text)))).equals(text)).toBe(true);
    });

    test('lists and deletes; what is being read is read to its end', async () => {
      const blobs = await open();
      await writeBlob(blobs, pieces());
      expect(await listOf(blobs.list())).toContainEqual({ digest, size: content.length });
      const reading = blobs.read(digest)[Symbol.asyncIterator]();
      const first = (await reading.next()) as IteratorYieldResult<Uint8Array>;
      await blobs.delete(digest);
      expect(await blobs.size(digest)).toBeUndefined();
      expect((await listOf(blobs.list())).map((it) => it.digest)).not.toContain(digest);
      const rest = await bytesOf({ [Symbol.asyncIterator]: () => reading });
      expect(digestOf(Buffer.concat([first.value, rest]))).toBe(digest);
    });

    test('stops reading when told to', async () => {
      const blobs = await open();
      await writeBlob(blobs, pieces());
      const stop = new AbortController();
      const reading = blobs.read(digest, { signal: stop.signal })[Symbol.asyncIterator]();
      await reading.next();
      stop.abort();
      const rest = async (): Promise<void> => {
        while (!(await reading.next()).done);
      };
      await expect(rest()).rejects.toThrow();
    });
  });
}
