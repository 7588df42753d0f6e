/** Reads .deb files on the host, as far as Berth needs it there: to take one file out of one (deb(5), ar(5), tar(5)). */
import { spawn } from 'node:child_process';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';

/** @returns the members of an `ar` archive by name */
export function readAr(archive: Buffer): Map<string, Buffer> {
  const members = new Map<string, Buffer>();
  if (archive.toString('latin1', 0, 8) !== '!<arch>\n') {
    throw new BerthError('HASH_MISMATCH', 'The file is no Debian package: it does not begin as an ar archive.');
  }
  let offset = 8;
  while (offset + 60 <= archive.length) {
    const name = archive
      .toString('latin1', offset, offset + 16)
      .trim()
      .replace(/\/$/, '');
    const size = Number(archive.toString('latin1', offset + 48, offset + 58).trim());
    members.set(name, archive.subarray(offset + 60, offset + 60 + size));
    offset += 60 + size + (size % 2);
  }
  return members;
}

/** @returns the content of the first regular file of a tar archive whose path is one of `paths` */
export function readTarFile(tar: Buffer, paths: readonly string[]): Buffer | undefined {
  let offset = 0;
  while (offset + 512 <= tar.length) {
    const text = (start: number, length: number) =>
      tar.toString('utf8', offset + start, offset + start + length).replace(/\0.*$/s, '');
    const name = text(0, 100);
    if (name === '') return undefined;
    const size = Number.parseInt(text(124, 12).trim() || '0', 8);
    const type = text(156, 1);
    const prefix = text(257, 5) === 'ustar' ? text(345, 155) : '';
    const path = (prefix === '' ? name : `${prefix}/${name}`).replace(/^\.\//, '');
    const content = tar.subarray(offset + 512, offset + 512 + size);
    if ((type === '0' || type === '') && paths.includes(path)) return content;
    offset += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}

/**
 * Takes one file out of a .deb. Debian's packages are packed by xz, which Node can't read, so `xz` or, where that is not
 * installed, `busybox` unpacks it.
 * @param paths where the file may lie, without a leading slash
 * @throws BerthError TOOL_MISSING when neither program is there
 */
export async function fileOfDeb(deb: Buffer, paths: readonly string[], signal?: AbortSignal): Promise<Buffer> {
  for (const [name, member] of readAr(deb)) {
    if (!name.startsWith('data.tar')) continue;
    const tar = name.endsWith('.xz') ? await unpackXz(member, signal) : member;
    const content = readTarFile(tar, paths);
    if (content) return content;
  }
  throw new BerthError('INTERNAL', `The Debian package has none of ${paths.join(', ')}.`);
}

/** @returns the unpacked bytes of an xz file */
export async function unpackXz(packed: Buffer, signal?: AbortSignal): Promise<Buffer> {
  try {
    return await pipeThrough('xz', ['-dc'], packed, signal);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  try {
    return await pipeThrough('busybox', ['xzcat'], packed, signal);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new BerthError('TOOL_MISSING', 'Neither `xz` nor `busybox` is installed.', { cause: error });
  }
}

/** Like core/exec, for output that is no text. */
async function pipeThrough(program: string, args: string[], input: Buffer, signal?: AbortSignal): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], ...(signal ? { signal } : {}) });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(chunks));
      else reject(new BerthError('HASH_MISMATCH', `A Debian package could not be unpacked: ${program} failed.`));
    });
    child.stdin.end(input);
  });
}
