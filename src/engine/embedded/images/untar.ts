/**
 * GNU tar as what makes files: it knows owners, modes, times, hard links, devices and extended attributes, which Node
 * has no calls for, and it does a file in a tenth of the time that Node's thread pool takes. It gets only members that
 * were checked, in headers that were written anew, so it reads nothing that Berth has read differently.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { BerthError } from '../../../core/errors.ts';
import { isErrno } from '../../../core/files.ts';

const batchBytes = 256 * 1024;
const program = 'tar';

/**
 * Unpacks a tar below a folder.
 * @param directory there, and nobody else's
 * @param asRoot whether owners can be set
 * @throws BerthError IMAGE_INVALID where tar refuses it, DISK_FULL, TOOL_MISSING; or what the archive throws
 */
export async function untar(archive: AsyncIterable<Uint8Array>, directory: string, asRoot: boolean): Promise<void> {
  const args = [
    ...['--extract', '--file=-', '--numeric-owner', '--preserve-permissions', '--delay-directory-restore'],
    ...['--xattrs', '--xattrs-include=*', asRoot ? '--same-owner' : '--no-same-owner'],
  ];
  const child = spawn(program, args, {
    cwd: directory,
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 16_384) said += chunk.toString('utf8');
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  ended.catch(() => undefined);
  // Where tar has ended early, its exit code says so.
  child.stdin.on('error', () => undefined);
  try {
    for await (const batch of batches(archive)) {
      if (child.exitCode !== null) break;
      if (!child.stdin.write(batch)) await Promise.race([once(child.stdin, 'drain'), ended]);
    }
  } catch (error) {
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
    throw error;
  }
  child.stdin.end(Buffer.alloc(1024));
  const code = await ended.catch((error: unknown) => {
    throw isErrno(error, 'ENOENT')
      ? new BerthError('TOOL_MISSING', `${program} is not installed; images cannot be unpacked.`, { cause: error })
      : error;
  });
  if (code === 0) return;
  const why = said.trim().split('\n')[0] ?? '';
  if (said.includes('No space left')) throw new BerthError('DISK_FULL', `A layer cannot be unpacked: ${why}`);
  throw new BerthError('IMAGE_INVALID', `A layer cannot be unpacked: ${why}`, { details: { code, said } });
}

/** Few large writes for many small members. */
async function* batches(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  for await (const piece of pieces) {
    waiting.push(piece);
    size += piece.length;
    if (size < batchBytes) continue;
    yield waiting.length === 1 ? piece : Buffer.concat(waiting);
    waiting = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(waiting);
}
