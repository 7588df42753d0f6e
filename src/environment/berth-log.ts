/** The output of a berth's own command, as the agent writes it to the berth's folder: read, and followed. */
import { watch } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { openBerthFile } from '../engine/run-directory.ts';
import type { LogChunk } from './service.ts';

const chunkBytes = 64 * 1024;

/**
 * @param file the log; its predecessor after a rotation is `file.1`
 * @param options follow: go on with what is written later, until the signal aborts
 */
export async function* readBerthLog(
  file: string,
  options: { readonly follow: boolean; readonly signal?: AbortSignal },
): AsyncIterable<LogChunk> {
  yield* readWhole(`${file}.1`);
  if (!options.follow) {
    yield* readWhole(file);
    return;
  }
  yield* follow(file, options.signal);
}

async function* readWhole(file: string): AsyncIterable<LogChunk> {
  const handle = await openBerthFile(file);
  if (!handle) return;
  try {
    yield* readOn(handle);
  } finally {
    await handle.close();
  }
}

async function* readOn(handle: FileHandle): AsyncIterable<LogChunk> {
  for (;;) {
    const buffer = Buffer.alloc(chunkBytes);
    const { bytesRead } = await handle.read(buffer, 0, chunkBytes, null);
    if (bytesRead === 0) return;
    yield { data: buffer.subarray(0, bytesRead) };
  }
}

async function* follow(file: string, signal: AbortSignal | undefined): AsyncIterable<LogChunk> {
  const watcher = watch(dirname(file), { persistent: false });
  const aborted = () => signal?.aborted ?? false;
  const onAbort = () => watcher.close();
  signal?.addEventListener('abort', onAbort, { once: true });
  let handle = await openBerthFile(file);
  try {
    while (!aborted()) {
      // Waiting starts before reading, so that what is written in between wakes it.
      const changed = once(watcher, 'change').catch(() => undefined);
      const closed = once(watcher, 'close').catch(() => undefined);
      handle ??= await openBerthFile(file);
      if (handle) {
        yield* readOn(handle);
        if (await wasRotated(handle, file)) {
          await handle.close();
          handle = await openBerthFile(file);
          continue;
        }
      }
      await Promise.race([changed, closed]);
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    watcher.close();
    await handle?.close();
  }
}

async function wasRotated(handle: FileHandle, file: string): Promise<boolean> {
  const now = await openBerthFile(file);
  if (!now) return true;
  try {
    const [mine, theirs] = await Promise.all([handle.stat(), now.stat()]);
    return mine.ino !== theirs.ino || mine.dev !== theirs.dev;
  } finally {
    await now.close();
  }
}
