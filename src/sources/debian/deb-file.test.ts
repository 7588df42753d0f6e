import { expect, test } from 'vitest';
import { fileOfDeb, readAr, readTarFile } from './deb-file.ts';

function ar(members: Record<string, string | Buffer>): Buffer {
  const parts = [Buffer.from('!<arch>\n')];
  for (const [name, content] of Object.entries(members)) {
    const bytes = Buffer.from(content);
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(bytes.length).padEnd(10)}\`\n`;
    parts.push(Buffer.from(header), bytes, Buffer.alloc(bytes.length % 2, '\n'));
  }
  return Buffer.concat(parts);
}

function tar(files: Record<string, string>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, content] of Object.entries(files)) {
    const header = Buffer.alloc(512);
    header.write(name);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write(name.endsWith('/') ? '5' : '0', 156);
    header.write('ustar', 257);
    parts.push(header, Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

test('reads the members of an ar archive, odd lengths too', () => {
  const members = readAr(ar({ 'debian-binary': '2.0\n', odd: 'abc', last: 'z' }));
  expect([...members].map(([name, content]) => [name, content.toString()])).toEqual([
    ['debian-binary', '2.0\n'],
    ['odd', 'abc'],
    ['last', 'z'],
  ]);
});

test('finds a file of a tar archive by any of its names', () => {
  const archive = tar({ './': '', './bin/': '', './bin/tool': 'x'.repeat(600), './other': 'y' });
  expect(readTarFile(archive, ['usr/bin/tool', 'bin/tool'])?.toString()).toBe('x'.repeat(600));
  expect(readTarFile(archive, ['other'])?.toString()).toBe('y');
  expect(readTarFile(archive, ['none'])).toBeUndefined();
});

test('takes a file out of a package; what is no package is an error', async () => {
  const deb = ar({ 'debian-binary': '2.0\n', 'control.tar': tar({}), 'data.tar': tar({ './bin/tool': 'content' }) });
  expect((await fileOfDeb(deb, ['bin/tool'])).toString()).toBe('content');
  await expect(fileOfDeb(deb, ['bin/none'])).rejects.toMatchObject({ code: 'INTERNAL' });
  await expect(fileOfDeb(Buffer.from('<html>'), ['bin/tool'])).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
});
