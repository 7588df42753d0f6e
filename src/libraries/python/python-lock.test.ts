import { expect, it } from 'vitest';
import { chooseFiles, linksOf, parsePythonLock, rankOf, type PythonLock } from './python-lock.ts';

const tags = ['cp311-cp311-manylinux_2_17_x86_64', 'py3-none-any'];
const rank = new Map(tags.map((tag, at) => [tag, at]));
const hash = (digit: string) => `sha256:${digit.repeat(64)}`;
const lockOf = (files: PythonLock['packages'][number]['files']): PythonLock => ({
  packages: [{ name: 'a', version: '1.0', files }],
  indexes: ['https://index.example/simple'],
  complete: true,
  python: '3.11.2',
  tags,
});
const page = (html: string) => ({ page: () => Promise.resolve(Buffer.from(html)), run: () => Promise.resolve('') });

it('ranks wheels as the interpreter does, and sources last', () => {
  expect(rankOf('a-1.0-cp311-cp311-manylinux_2_5_x86_64.manylinux_2_17_x86_64.whl', rank)).toBe(0);
  expect(rankOf('a-1.0-py2.py3-none-any.whl', rank)).toBe(1);
  expect(rankOf('a-1.0-cp312-cp312-win_amd64.whl', rank)).toBeUndefined();
  expect(rankOf('a-1.0.tar.gz', rank)).toBeGreaterThan(1);
  expect(rankOf('a-1.0.exe', rank)).toBeUndefined();
});

it('reads pages of indexes', () => {
  const html = `<a data-x="1" href="../../files/a-1.0.tar.gz#${hash('a').replace(':', '=')}">a</a><a href='b.whl'>b</a>`;
  expect(linksOf(html, 'https://index.example/simple/a/')).toEqual([
    { url: 'https://index.example/files/a-1.0.tar.gz', file: 'a-1.0.tar.gz', hash: hash('a') },
    { url: 'https://index.example/simple/a/b.whl', file: 'b.whl', hash: undefined },
  ]);
});

it('takes the best file of those that the lock has a hash for', async () => {
  const link = (file: string, digit: string) => `<a href="/${file}#${hash(digit).replace(':', '=')}">x</a>`;
  const html =
    link('a-1.0.tar.gz', 'a') + link('a-1.0-py3-none-any.whl', 'b') + link(`a-1.0-${tags[0] ?? ''}.whl`, 'c');
  const choose = (...digits: string[]) =>
    chooseFiles(lockOf(digits.map((digit) => ({ hash: hash(digit), url: null, file: null }))), page(html));
  expect(await choose('a', 'b', 'c')).toMatchObject([{ isWheel: true, artifact: { saveAs: `a-1.0-${tags[0]}.whl` } }]);
  expect(await choose('a', 'b')).toMatchObject([{ artifact: { saveAs: 'a-1.0-py3-none-any.whl' } }]);
  expect(await choose('a')).toMatchObject([{ isWheel: false }]);
  await expect(choose('d')).rejects.toMatchObject({ code: 'LIBRARY_DOWNLOAD_FAILED' });
});

it('says when nothing fits this platform, and when a hash is weak', async () => {
  const url = 'https://files.example/a-1.0-cp311-cp311-win_amd64.whl';
  await expect(chooseFiles(lockOf([{ hash: hash('a'), url, file: null }]), page(''))).rejects.toMatchObject({
    code: 'LIBRARY_PLATFORM',
  });
  await expect(chooseFiles(lockOf([{ hash: 'md5:00', url, file: null }]), page(''))).rejects.toMatchObject({
    code: 'LIBRARY_LOCK_UNHASHED',
  });
});

it('passes on what the reader refuses', () => {
  const problem = { code: 'LIBRARY_PLATFORM', message: 'no', hint: null };
  expect(() => parsePythonLock(JSON.stringify({ problem }))).toThrow('no');
});
