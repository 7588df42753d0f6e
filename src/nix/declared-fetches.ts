/**
 * What a config fetches while it is evaluated. The sandbox has no network; a fetch that is pinned by its hash is done here,
 * outside, and the evaluation asked again. Nothing unknown can come in this way: the hash was in the config before.
 */
import { z } from 'zod';
import { BerthError } from '../core/errors.ts';
import { downloadError } from './build-errors.ts';
import { withoutColours } from './internal-json.ts';
import type { NixProcess } from './nix-process.ts';
import { storePathOf, type StorePath } from './store.ts';

/** A fetch that an evaluation needs, as nix/fetch.nix reports it. */
export interface DeclaredFetch {
  /** Names the fetch in the request of the next evaluation. */
  readonly key: string;
  readonly fetcher: 'fetchurl' | 'fetchTarball' | 'fetchGit' | 'fetchTree';
  /** The fetcher's arguments. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

export const declaredFetchSchema = z.object({
  key: z.string(),
  fetcher: z.enum(['fetchurl', 'fetchTarball', 'fetchGit', 'fetchTree']),
  arguments: z.record(z.string(), z.unknown()),
}) satisfies z.ZodType<DeclaredFetch>;

/** What a fetch gave: at least its store path. */
export interface Fetched {
  readonly outPath: string;
  readonly [attribute: string]: unknown;
}

const fetchedSchema = z.looseObject({ outPath: z.string() });

/**
 * Fetches into the store; nothing is downloaded when the store has it.
 * @throws BerthError MIRROR_UNREACHABLE, DOWNLOAD_GONE, HASH_MISMATCH, PATH_FORBIDDEN, CANCELLED
 */
export async function fetchDeclared(
  nix: NixProcess,
  fetch: Omit<DeclaredFetch, 'key'>,
  signal?: AbortSignal,
): Promise<Fetched> {
  const url = urlOf(fetch.arguments);
  if (!isRemote(fetch.arguments, url)) {
    throw new BerthError('PATH_FORBIDDEN', `The config fetches ${url}; only http and https addresses are fetched.`);
  }
  // The arguments are data, never code: Nix reads them from JSON within a string.
  const value = `builtins.${fetch.fetcher} (builtins.fromJSON ${nixString(JSON.stringify(fetch.arguments))})`;
  // A set with an outPath would be printed as that path alone: its other attributes and the path are printed apart.
  const expression = `let value = ${value}; facts = if builtins.isAttrs value then removeAttrs value [ "outPath" ] else { }; in builtins.toJSON facts + "\\n\${value}"`;
  const result = await nix.run(
    'nix-instantiate',
    ['--eval', '--strict', '--json', '--read-write-mode', '--expr', expression],
    signal ? { signal } : {},
  );
  if (result.code !== 0) throw fetchError(withoutColours(result.stderr), url);
  const [facts = '{}', outPath = ''] = z.string().parse(JSON.parse(result.stdout)).split('\n');
  return fetchedSchema.parse({ ...(JSON.parse(facts) as object), outPath });
}

/** @returns the store path that a fetch gave */
export function fetchedPath(fetched: Fetched): StorePath {
  const path = storePathOf(fetched.outPath);
  if (path === undefined) throw new BerthError('INTERNAL', `A fetch gave ${fetched.outPath}, which is no store path.`);
  return path;
}

function fetchError(stderr: string, url: string): BerthError {
  const mismatch =
    /hash mismatch[\s\S]*?(?:specified|wanted):\s*(\S+)[\s\S]*?got:\s*(\S+)/.exec(stderr) ??
    /NAR hash mismatch[\s\S]*?expected '([^']+)',? (?:but )?got '([^']+)'/.exec(stderr);
  if (mismatch || /(?:NAR hash|hash) mismatch/.test(stderr)) {
    const [, wanted = '', got = ''] = mismatch ?? [];
    return new BerthError(
      'HASH_MISMATCH',
      `${url} has ${got ? `the hash ${got}` : 'another hash'} than the config says.`,
      {
        details: { url, wanted, got },
      },
    );
  }
  return (
    downloadError(stderr, { url }) ??
    new BerthError('MIRROR_UNREACHABLE', `${url} could not be fetched: ${lastError(stderr)}.`, { details: { url } })
  );
}

function lastError(stderr: string): string {
  const at = stderr.lastIndexOf('error:');
  return (at === -1 ? stderr : stderr.slice(at + 6)).trim().split('\n')[0]?.replace(/\.$/, '') ?? '';
}

function urlOf(args: Readonly<Record<string, unknown>>): string {
  if (typeof args['url'] === 'string') return args['url'];
  return [args['type'], args['owner'], args['repo']].filter((part) => typeof part === 'string').join('/');
}

function isRemote(args: Readonly<Record<string, unknown>>, url: string): boolean {
  if (args['url'] === undefined)
    return args['type'] === 'github' || args['type'] === 'gitlab' || args['type'] === 'sourcehut';
  return /^(?:git\+|tarball\+|file\+)?https?:\/\//.test(url);
}

/** @returns the text as a Nix string */
export function nixString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replaceAll('${', '\\${').replaceAll('\n', '\\n')}"`;
}
