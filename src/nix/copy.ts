/** Copies closures between the store and a binary cache. */
import { BerthError } from '../core/errors.ts';
import { silent, type Emit } from '../core/events.ts';
import { buildError } from './build-errors.ts';
import { createNixLog } from './internal-json.ts';
import type { NixProcess } from './nix-process.ts';

export interface CopyOptions {
  readonly emit?: Emit;
  /** Whether what the paths need is copied as well; true when absent. */
  readonly recursive?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Copies paths with all that they need to a binary cache.
 * @param cache `file:///FOLDER` (made when it is not there), or `http://…` that takes PUT; may carry Nix's parameters, such as
 *   `?compression=zstd&secret-key=FILE` to sign what is written
 * @throws BerthError DISK_FULL, MIRROR_UNREACHABLE, CANCELLED, INTERNAL
 */
export async function copyToCache(
  nix: NixProcess,
  cache: string,
  paths: readonly string[],
  options: CopyOptions = {},
): Promise<void> {
  await copy(nix, ['--to', cache, ...paths], options);
}

/**
 * Copies paths with all that they need from a binary cache into the store.
 * @param cache `file:///FOLDER` or `http://…`
 * @param trust `signed`: only what a trusted key has signed; `all`: for a cache that the user made on purpose
 * @throws BerthError UNSIGNED_PATH, DOWNLOAD_GONE, MIRROR_UNREACHABLE, DISK_FULL, CANCELLED, INTERNAL
 */
export async function copyFromCache(
  nix: NixProcess,
  cache: string,
  paths: readonly string[],
  options: CopyOptions & { readonly trust?: 'signed' | 'all' } = {},
): Promise<void> {
  await copy(nix, ['--from', cache, ...(options.trust === 'all' ? ['--no-check-sigs'] : []), ...paths], options);
}

async function copy(nix: NixProcess, args: readonly string[], options: CopyOptions): Promise<void> {
  const log = createNixLog({ emit: options.emit ?? silent });
  const result = await nix.run(
    'nix',
    ['copy', '--log-format', 'internal-json', ...(options.recursive === false ? ['--no-recursive'] : []), ...args],
    {
      ...(options.signal ? { signal: options.signal } : {}),
      onStderrLine: log.add,
      maxOutputBytes: 256 * 1024 * 1024,
    },
  );
  log.flush();
  if (result.code === 0) return;
  const missing =
    /path '([^']+)' (?:is not valid|does not exist|is required, but)|don't know how to build these paths/.exec(
      log.errors.join('\n'),
    );
  if (missing) {
    throw new BerthError('DOWNLOAD_GONE', `The binary cache does not have ${missing[1] ?? 'what was asked for'}.`, {
      hint: 'Build it, or ask another cache.',
    });
  }
  throw buildError({ log, exitCode: result.code });
}
