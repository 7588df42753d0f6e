/** Builds or downloads what derivations give, with progress as events. */
import { createWriteStream, mkdirSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { once } from 'node:events';
import { silent, type Emit } from '../core/events.ts';
import { BerthError } from '../core/errors.ts';
import { buildError } from './build-errors.ts';
import { createNixLog, nameOfDerivation, type BuildLogLine } from './internal-json.ts';
import type { NixProcess } from './nix-process.ts';
import { isStorePath, type StorePath } from './store.ts';

export interface BinaryCache {
  readonly url: string;
  /** `name:base64`: what the cache signs with. */
  readonly publicKey: string;
}

export interface RealiseOptions {
  /** Caches to ask besides those of the settings. */
  readonly caches?: readonly BinaryCache[];
  readonly emit?: Emit;
  readonly signal?: AbortSignal;
  /** Called with each line of a build's log. */
  readonly onLog?: (line: BuildLogLine) => void;
  /** Where all lines of all builds are written; made when the first line comes. */
  readonly logFile?: string;
  /**
   * A link that becomes a garbage-collection root of the one output, before Nix lets go of what it has made: a collection
   * that began meanwhile may have read the roots too early to know it, and Nix tells it then.
   */
  readonly rootLink?: string;
}

export interface Realised {
  /** The outputs, in the order of the derivations. */
  readonly paths: readonly StorePath[];
  /** How many derivations were built here, rather than found or downloaded. */
  readonly built: number;
}

/**
 * Makes the paths valid. Takes derivations (all their outputs) or plain store paths (which can only be downloaded).
 * @throws BerthError BUILD_FAILED, HASH_MISMATCH, DISK_FULL, MIRROR_UNREACHABLE, DOWNLOAD_GONE, UNSIGNED_PATH, CANCELLED
 */
export async function realise(
  nix: NixProcess,
  paths: readonly string[],
  options: RealiseOptions = {},
): Promise<Realised> {
  if (paths.length === 0) return { paths: [], built: 0 };
  const file = options.logFile === undefined ? undefined : logWriter(options.logFile);
  const log = createNixLog({
    emit: options.emit ?? silent,
    onLog: (line) => {
      file?.write(`${nameOfDerivation(line.derivation)}> ${line.line}\n`);
      options.onLog?.(line);
    },
  });
  const { rootLink } = options;
  const rootOptions = rootLink === undefined ? [] : ['--add-root', rootLink];
  try {
    const result = await nix.run(
      'nix-store',
      [
        '--realise',
        ...paths,
        '-v',
        '--log-format',
        'internal-json',
        ...cacheOptions(options.caches ?? []),
        ...rootOptions,
      ],
      {
        ...(options.signal ? { signal: options.signal } : {}),
        onStderrLine: log.add,
        maxOutputBytes: 512 * 1024 * 1024,
      },
    );
    log.flush();
    if (result.code !== 0) {
      throw buildError({
        log,
        exitCode: result.code,
        ...(options.logFile !== undefined && file?.used() ? { logFile: options.logFile } : {}),
      });
    }
    const outputs = result.stdout
      .split('\n')
      .filter((line) => line !== '')
      // Nix names the root where it made one.
      .map((line) => (line === rootLink ? readlinkSync(line) : line));
    return {
      paths: outputs.map((path) => {
        if (isStorePath(path)) return path;
        throw new BerthError('INTERNAL', `Nix printed \`${path}\` where a store path was expected.`);
      }),
      built: log.built.size,
    };
  } finally {
    await file?.close();
  }
}

function cacheOptions(caches: readonly BinaryCache[]): string[] {
  if (caches.length === 0) return [];
  return [
    ...['--option', 'extra-substituters', caches.map(({ url }) => url).join(' ')],
    ...['--option', 'extra-trusted-public-keys', caches.map(({ publicKey }) => publicKey).join(' ')],
  ];
}

function logWriter(path: string) {
  let stream: ReturnType<typeof createWriteStream> | undefined;
  return {
    used: () => stream !== undefined,
    write(text: string): void {
      if (!stream) {
        mkdirSync(dirname(path), { recursive: true });
        stream = createWriteStream(path, { flags: 'a' });
        // A log that can't be written must not end the build; the last lines are kept in memory.
        stream.on('error', () => undefined);
      }
      stream.write(text);
    },
    async close(): Promise<void> {
      if (!stream || stream.destroyed) return;
      stream.end();
      if (!stream.writableFinished) await once(stream, 'close').catch(() => undefined);
    },
  };
}
