/**
 * nixpkgs, or any tree in its shape, as a source: a pinned tarball, fetched once by its hash, then read from the store.
 * Packages come from its binary cache when they are realised; nothing here builds.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { exec } from '../../core/exec.ts';
import { writeFileAtomically } from '../../core/files.ts';
import { nearestNames } from '../../core/nearest.ts';
import { fetchedPath } from '../../nix/declared-fetches.ts';
import type { ListedPackage } from '../../nix/list-packages.ts';
import type { Nix } from '../../nix/nix.ts';
import type { BinaryCache } from '../../nix/realise.ts';
import { physicalPath, type StorePath } from '../../nix/store.ts';
import type { Json, LockedSource, PackageMatch, PreparedSource, Source, SourceContext } from '../source.ts';
import type { VersionIndex, VersionIndexFile } from '../versions/version-index.ts';
import { treePinOf, type TreePin } from './pin.ts';
import { revisionsWith } from './revisions-with.ts';

/** The binary cache of nixpkgs' own builds. */
export const officialCache: BinaryCache = {
  url: 'https://cache.nixos.org',
  publicKey: 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=',
};

export interface NixpkgsSourceOptions {
  readonly nix: Pick<Nix, 'store' | 'fetch' | 'addToStore' | 'narHashOf' | 'validPaths' | 'listPackages'>;
  /** Where lists of packages are kept: a folder of $BERTH_HOME. */
  readonly folder: string;
  /** `path`: the tree is a user's own, on this machine. Default `nixpkgs`. */
  readonly kind?: 'nixpkgs' | 'path';
  /**
   * For a lock that names none: a tarball's address, a GitHub repository's (then with `rev`, or the branch's head), or an
   * absolute folder. Default: the newest stable release of nixpkgs.
   */
  readonly url?: string;
  readonly rev?: string;
  /** Finds the address that one leads to, so that a channel's lock names the release behind it. Default: over HTTP. */
  readonly resolve?: (url: string, signal?: AbortSignal) => Promise<string | undefined>;
  readonly now?: () => Date;
  /** Which other revisions have which versions. Default: none is known. */
  readonly index?: VersionIndexFile;
}

/** @returns the source; nothing is read or fetched before it is asked */
export function createNixpkgsSource(options: NixpkgsSourceOptions): Source {
  const kind = options.kind ?? 'nixpkgs';
  const { nix } = options;
  const resolve = options.resolve ?? followRedirects;
  // Lists of packages, by the tree's store path.
  const lists = new Map<string, Promise<ListedPackage[]>>();

  async function prepare(locked: LockedSource, context: SourceContext): Promise<PreparedSource> {
    const pin = treePinOf(locked);
    if ((await nix.validPaths([pin.path])).length === 0) await fetchAgain(pin, context);
    const settings: Record<string, Json> = {
      path: pin.path,
      ...(pin.overlays ? { overlays: pin.overlays } : {}),
      ...(pin.config ? { config: pin.config } : {}),
    };
    return { kind, nix: settings, storePaths: [pin.path] };
  }

  async function fetchAgain(pin: TreePin, context: SourceContext): Promise<void> {
    context.emit({ type: 'progress', phase: 'lock', unit: 'packages', done: 0, label: pin.url });
    const path = pin.url.startsWith('/')
      ? await nix.addToStore(pin.url, 'source', context.signal)
      : fetchedPath(
          await nix.fetch(
            isGit(pin.url)
              ? { fetcher: 'fetchGit', arguments: gitArguments(pin.url) }
              : { fetcher: 'fetchTarball', arguments: { url: pin.url, sha256: pin.narHash, name: 'source' } },
            context.signal,
          ),
        );
    if (path === pin.path) return;
    throw new BerthError('HASH_MISMATCH', `${pin.url} is no longer what the lock says.`, {
      details: { url: pin.url, wanted: pin.path, got: path },
    });
  }

  /** The list is made once for each tree; it is kept in a file, since nixpkgs takes half a minute. */
  async function packagesOf(
    locked: LockedSource,
    namesOnly: boolean,
    context: SourceContext,
  ): Promise<ListedPackage[]> {
    const { path } = treePinOf(locked);
    const file = join(options.folder, `${digestOf(path).slice(7, 39)}.json`);
    const full = await readList(file);
    if (full) return full;
    const key = `${path} ${namesOnly}`;
    const found = lists.get(key) ?? startList(key, file, locked, namesOnly, context);
    return found;
  }

  function startList(
    key: string,
    file: string,
    locked: LockedSource,
    namesOnly: boolean,
    context: SourceContext,
  ): Promise<ListedPackage[]> {
    const work = (async () => {
      const source = await prepare(locked, context);
      if (!namesOnly)
        context.emit({ type: 'progress', phase: 'evaluate', unit: 'packages', done: 0, label: locked.label });
      const signal = context.signal ? { signal: context.signal } : {};
      const packages = await nix.listPackages(source, { namesOnly, ...signal });
      if (!namesOnly) await writeFileAtomically(file, JSON.stringify(packages));
      return packages;
    })();
    lists.set(key, work);
    work.catch(() => lists.delete(key));
    return work;
  }

  async function lockRevision(
    revision: VersionIndex['revisions'][number],
    context: SourceContext,
  ): Promise<LockedSource> {
    const url = revision.url ?? githubTarball(nixpkgsRepository, revision.rev);
    const { label, pin } = await lockTree(kind, url, nix, context);
    if (pin['narHash'] === revision.narHash) return { kind, label, pin: { ...pin, rev: revision.rev } };
    throw new BerthError('HASH_MISMATCH', `${url} is not what the version index says.`, {
      hint: 'Update the version index (setting versions.index), or correct it.',
      details: { url, wanted: revision.narHash, got: pin['narHash'] },
    });
  }

  return {
    kind,
    async lock(request, context) {
      const wanted = request['url'] ?? request['path'] ?? options.url;
      const rev = request['rev'] ?? (request['url'] === undefined ? options.rev : undefined);
      const url = await addressOf(wanted, rev, options.now?.() ?? new Date(), resolve, context.signal);
      return lockTree(kind, url, nix, context);
    },
    prepare,
    async search(locked, query, limit, context): Promise<PackageMatch[]> {
      const packages = await packagesOf(locked, false, context);
      return rank(packages, query)
        .slice(0, limit)
        .map((found) => ({ ...found, source: locked.label }));
    },
    async has(locked, name, context) {
      const [first] = name.split('.');
      return (await packagesOf(locked, true, context)).some((found) => found.name === first);
    },
    async versions(locked, name, context) {
      const packages = await packagesOf(locked, false, context);
      return packages
        .filter((found) => found.name === name)
        .map(({ version }) => ({ name, version, upstream: version }));
    },
    async elsewhere(_locked, wanted, known, context) {
      if (!options.index) return [];
      const index = await options.index.load(context.signal);
      return revisionsWith(index, wanted, known, (revision) => lockRevision(revision, context));
    },
    async nearest(locked, name, context) {
      const packages = await packagesOf(locked, true, context);
      return nearestNames(
        name,
        packages.map((found) => found.name),
      );
    },
  };
}

async function lockTree(
  kind: 'nixpkgs' | 'path',
  url: string,
  nix: NixpkgsSourceOptions['nix'],
  context: SourceContext,
): Promise<LockedSource> {
  const { path, narHash } = url.startsWith('/')
    ? await addFolder(url, nix, context.signal)
    : await fetchTree(url, nix, context.signal);
  const tree = physicalPath(nix.store, path);
  if (!['default.nix', 'flake.nix'].some((name) => existsSync(join(tree, name)))) {
    throw new BerthError('SOURCE_UNKNOWN', `${url} has neither default.nix nor flake.nix, so it is no source.`);
  }
  const rev = /\b[0-9a-f]{40}\b/.exec(url)?.[0] ?? readLine(join(tree, '.git-revision'));
  const version = readLine(join(tree, 'lib/.version')) ?? readLine(join(tree, '.version'));
  const name = [kind === 'path' ? url : 'nixpkgs', version, rev?.slice(0, 7)].filter((word) => word !== undefined);
  return {
    kind,
    label: name.length > 1 ? name.join(' ') : `${name.join(' ')} ${narHash.slice(7, 14)}`,
    pin: { url, ...(rev === undefined ? {} : { rev }), narHash, path },
  };
}

async function fetchTree(
  url: string,
  nix: NixpkgsSourceOptions['nix'],
  signal?: AbortSignal,
): Promise<{ path: StorePath; narHash: string }> {
  const fetched = await nix.fetch(
    isGit(url)
      ? { fetcher: 'fetchGit', arguments: gitArguments(url) }
      : { fetcher: 'fetchTree', arguments: { type: 'tarball', url } },
    signal,
  );
  return { path: fetchedPath(fetched), narHash: z.string().parse(fetched['narHash']) };
}

async function addFolder(
  folder: string,
  nix: NixpkgsSourceOptions['nix'],
  signal?: AbortSignal,
): Promise<{ path: StorePath; narHash: string }> {
  if (!existsSync(folder)) throw new BerthError('SOURCE_UNKNOWN', `There is no folder ${folder}.`);
  const path = await nix.addToStore(folder, 'source', signal);
  return { path, narHash: await nix.narHashOf(path) };
}

const nixpkgsRepository = 'https://github.com/NixOS/nixpkgs';
const stable = (release: string) => `https://channels.nixos.org/nixos-${release}/nixexprs.tar.xz`;

/** @returns the address of one tarball, or a folder, that stays what it is */
async function addressOf(
  wanted: string | undefined,
  rev: string | undefined,
  now: Date,
  resolve: NonNullable<NixpkgsSourceOptions['resolve']>,
  signal?: AbortSignal,
): Promise<string> {
  if (wanted === undefined) {
    if (rev !== undefined) return githubTarball(nixpkgsRepository, rev);
    for (const release of stableReleases(now)) {
      const found = await resolve(stable(release), signal);
      if (found !== undefined) return found;
    }
    throw new BerthError('DOWNLOAD_GONE', 'No stable release of nixpkgs was found.', {
      hint: 'Set nixpkgs.url (BERTH_NIXPKGS_URL) to a tarball of nixpkgs.',
    });
  }
  if (wanted.startsWith('/')) return wanted.replace(/\/+$/, '') || '/';
  const github = /^github:([\w.-]+)\/([\w.-]+)(?:\/([\w./-]+))?$/.exec(wanted);
  if (github) {
    const repository = `https://github.com/${github[1] ?? ''}/${github[2] ?? ''}`;
    return githubTarball(repository, github[3] ?? rev ?? (await headOf(repository, signal)));
  }
  if (isGit(wanted)) {
    const url = new URL(wanted.slice('git+'.length));
    url.searchParams.set(
      'rev',
      url.searchParams.get('rev') ?? rev ?? (await headOf(url.origin + url.pathname, signal)),
    );
    return `git+${url.href}`;
  }
  if (!/^https?:\/\//.test(wanted)) {
    throw new BerthError(
      'SETTING_INVALID',
      `\`${wanted}\` is neither an http address, a git or GitHub repository, nor an absolute folder.`,
    );
  }
  if (isRepository(wanted)) return githubTarball(wanted, rev ?? (await headOf(wanted, signal)));
  const found = await resolve(wanted, signal);
  if (found === undefined) throw new BerthError('DOWNLOAD_GONE', `There is no ${wanted}.`);
  return found;
}

/** Releases come at the end of May and of November. @returns the three newest that may be out, newest first */
export function stableReleases(now: Date): string[] {
  const releases: string[] = [];
  let year = now.getUTCFullYear();
  let month = now.getUTCMonth() + 1;
  while (releases.length < 3) {
    if (month === 11 || month === 5)
      releases.push(`${String(year % 100).padStart(2, '0')}.${String(month).padStart(2, '0')}`);
    month -= 1;
    if (month === 0) {
      month = 12;
      year -= 1;
    }
  }
  return releases;
}

/** A flake's notation of a git repository: `git+https://…?rev=…`. */
function isGit(url: string): boolean {
  return /^git\+https?:\/\//.test(url);
}

/** A revision may be of any branch. */
function gitArguments(address: string): Record<string, unknown> {
  const url = new URL(address.slice('git+'.length));
  return { url: url.origin + url.pathname, rev: url.searchParams.get('rev') ?? '', allRefs: true, name: 'source' };
}

function isRepository(url: string): boolean {
  return /^https?:\/\/(?:www\.)?github\.com\/[^/]+\/[^/]+?(?:\.git)?\/?$/.test(url);
}

function githubTarball(repository: string, rev: string): string {
  return `${repository.replace(/(?:\.git)?\/?$/, '')}/archive/${rev}.tar.gz`;
}

async function headOf(repository: string, signal?: AbortSignal): Promise<string> {
  const result = await exec('git', ['ls-remote', '--exit-code', repository, 'HEAD'], {
    timeoutMs: 60_000,
    ...(signal ? { signal } : {}),
  });
  const rev = /^[0-9a-f]{40}/.exec(result.stdout)?.[0];
  if (rev !== undefined) return rev;
  throw new BerthError('MIRROR_UNREACHABLE', `The repository ${repository} did not tell its current revision.`, {
    details: { stderr: result.stderr.slice(-1000) },
  });
}

/** @returns where an address leads in the end, or undefined when it is not there */
async function followRedirects(url: string, signal?: AbortSignal): Promise<string | undefined> {
  const timeout = AbortSignal.timeout(30_000);
  try {
    const response = await fetch(url, {
      method: 'HEAD',
      redirect: 'follow',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.status === 404 || response.status === 410) return undefined;
    return response.ok ? response.url : url;
  } catch (error) {
    if (signal?.aborted) throw new BerthError('CANCELLED', 'Locking nixpkgs was cancelled.', { cause: error });
    throw new BerthError('MIRROR_UNREACHABLE', `${new URL(url).host} could not be reached.`, { cause: error });
  }
}

function readLine(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const line = readFileSync(file, 'utf8').trim().split('\n')[0] ?? '';
  return line === '' ? undefined : line;
}

const listSchema = z.array(z.object({ name: z.string(), version: z.string(), description: z.string() }));

async function readList(file: string): Promise<ListedPackage[] | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    return listSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    // A damaged list is made again.
    return undefined;
  }
}

/** @returns those that fit, best first: the name itself, names that begin with it, names that hold it, descriptions */
function rank(packages: readonly ListedPackage[], query: string): ListedPackage[] {
  const words = query
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const scored: { package: ListedPackage; score: number }[] = [];
  for (const candidate of packages) {
    const name = candidate.name.toLowerCase();
    const description = candidate.description.toLowerCase();
    let score = 0;
    for (const word of words) {
      if (name === word) score += 100;
      else if (name.startsWith(word)) score += 50 - Math.min(40, name.length - word.length);
      else if (name.includes(word)) score += 8;
      else if (description.includes(word)) score += 2;
      else {
        score = -1;
        break;
      }
    }
    if (score > 0) scored.push({ package: candidate, score });
  }
  scored.sort((a, b) => b.score - a.score || (a.package.name < b.package.name ? -1 : 1));
  return scored.map((entry) => entry.package);
}
