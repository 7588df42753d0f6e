/**
 * The Debian archive as a source of packages. Trust goes from the archive keyring (InRelease's signature) over the
 * Release file's hashes of the package lists to the SHA-256 of every .deb, which Nix checks when it fetches one.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { digestOfJson } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { readTextIfThere, writeFileAtomically } from '../../core/files.ts';
import { physicalPath, type Store, type StorePath } from '../../nix/store.ts';
import type {
  LockedSource,
  PackageMatch,
  PackageVersion,
  PreparedSource,
  Source,
  SourceContext,
  VersionsElsewhere,
} from '../source.ts';
import { upstreamVersion } from '../versions/upstream-version.ts';
import { parseParagraphs } from './control.ts';
import { fileOfDeb, unpackXz } from './deb-file.ts';
import { createDownloads, diskErrorOf, type Downloads } from './download.ts';
import type { DebianMirrors } from './mirrors.ts';
import { indexFormat, writePackageIndex } from './package-index.ts';
import { nearestPackageNames, parseSearchFile, searchEntries, type SearchEntry } from './package-search.ts';
import {
  type DebianArchitecture,
  architectureSchema,
  type DebianPin,
  debianPinSchema,
  type DebianPocket,
} from './pin.ts';
import { parseRelease, type Release, verifyInRelease } from './release.ts';
import {
  type DebianPackage,
  newestVersions,
  packageFields,
  packageOf,
  resolvePackages,
  type ResolvedPackage,
} from './resolve.ts';
import type { StorePaths } from './store-paths.ts';

export interface DebianSourceOptions {
  readonly store: Store;
  readonly storePaths: StorePaths;
  /** Where downloads are kept: a folder of $BERTH_HOME. */
  readonly folder: string;
  /** See aptMirrors; asked for when the network is needed, so that a host with no mirror can use what it has. */
  readonly mirrors: () => Promise<DebianMirrors>;
  /** For a lock that names no suite. Default `bookworm`. */
  readonly suite?: string;
  /** Where versions are looked for that the locked suite has not. Default: all that the mirror has. */
  readonly suites?: readonly string[];
  /** Default: all. An unfree package must be known to give a clear error. */
  readonly components?: readonly string[];
  /** Default `amd64`. */
  readonly architecture?: DebianArchitecture;
  /** Default: the keyrings of the package debian-archive-keyring. */
  readonly keyrings?: readonly string[];
  /** Default `gpgv`. */
  readonly gpgv?: string;
  /** Whether a Release file past its Valid-Until is an error. Default true. */
  readonly checkValidUntil?: boolean;
  /** Whether packages of contrib and non-free may be used. Default false. */
  readonly allowUnfree?: boolean;
  /** nix/debian/aliases.json: nixpkgs' names for Debian's packages. */
  readonly aliasesFile?: string;
}

const defaultComponents = ['main', 'contrib', 'non-free', 'non-free-firmware'];
const defaultKeyrings = ['/usr/share/keyrings/debian-archive-keyring.gpg'];
/** Applets that are called by a path; in its shell, busybox finds all of them by itself. */
const bootstrapApplets = ['sh', 'cat', 'mkdir', 'ln', 'env'];
/** Suites that a mirror may hold; one that it has not is passed over. */
export const knownSuites = ['bullseye', 'bookworm', 'trixie', 'forky', 'sid'] as const;
/** How many indexes a search keeps in memory, at about 10 MB each. */
const keptIndexes = 4;
const systems = { amd64: 'x86_64-linux', arm64: 'aarch64-linux' } as const;

/** @returns the source; nothing is read or fetched before it is asked */
export function createDebianSource(options: DebianSourceOptions): Source {
  // The last indexes searched, by their store paths: search and nearest come in bursts.
  const searched = new Map<StorePath, readonly SearchEntry[]>();

  const entriesOf = async (locked: LockedSource, context: SourceContext) => {
    const pin = pinOf(locked);
    const known = searched.get(pin.index.path);
    if (known) return known;
    await ensureIndex(pin, options, context);
    const file = join(physicalPath(options.store, pin.index.path), 'search.tsv');
    const parsed = parseSearchFile(await readFile(file, 'utf8'));
    const entries = [...(await aliasEntries(parsed, options.aliasesFile)), ...parsed];
    const [oldest] = searched.keys();
    if (oldest !== undefined && searched.size >= keptIndexes) searched.delete(oldest);
    searched.set(pin.index.path, entries);
    return entries;
  };

  return {
    kind: 'debian',
    lock: (request, context) => {
      const architecture = architectureSchema.catch(options.architecture ?? 'amd64').parse(request['architecture']);
      return lockSuite(request['suite'] ?? options.suite ?? 'bookworm', { ...options, architecture }, context);
    },
    prepare: async (locked, context) => {
      const pin = pinOf(locked);
      await ensureIndex(pin, options, context);
      return preparedSource(pin, await options.mirrors(), options);
    },
    search: async (locked, query, limit, context): Promise<PackageMatch[]> => {
      const source = `debian ${pinOf(locked).suite}`;
      const found = searchEntries(await entriesOf(locked, context), query, limit);
      return found.map((entry) => ({ ...entry, source }));
    },
    has: async (locked, name, context) => (await entriesOf(locked, context)).some((entry) => entry.name === name),
    versions: async (locked, name, context) => versionsOf(await entriesOf(locked, context), name),
    elsewhere: async (locked, _wanted, _known, context) => {
      const { suite: own, architecture } = pinOf(locked);
      const found: VersionsElsewhere[] = [];
      for (const suite of options.suites ?? knownSuites) {
        if (suite === own) continue;
        const other = await lockIfThere(suite, { ...options, architecture }, context);
        if (!other) continue;
        found.push({
          label: `debian ${suite}`,
          versions: async (name) => versionsOf(await entriesOf(other, context), name),
          lock: () => Promise.resolve(other),
        });
      }
      return found;
    },
    nearest: async (locked, name, context) => {
      const entries = await entriesOf(locked, context);
      return nearestPackageNames(
        name,
        entries.map((entry) => entry.name),
      );
    },
  };
}

/** @returns the folder with the locked suite's own busybox */
export function bootstrapOf(locked: LockedSource): StorePath {
  return pinOf(locked).bootstrap.path;
}

async function lockSuite(suite: string, options: DebianSourceOptions, context: SourceContext): Promise<LockedSource> {
  const downloads = downloadsOf(options, context);
  const mirrors = await mirrorsOf(options);
  const pockets = await findPockets(suite, mirrors, downloads, options, context);
  const pin =
    (await knownPin(suite, pockets, options, context)) ??
    (await buildIndex(suite, pockets, mirrors, downloads, options, context));
  const newest =
    pockets
      .map((pocket) => pocket.date)
      .sort()
      .at(-1) ?? '';
  return { kind: 'debian', label: `${suite} ${newest.slice(0, 10)}`, pin };
}

/** Another suite, where the mirror has it and it can be trusted; what is wrong with it is told, and is no error. */
async function lockIfThere(
  suite: string,
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<LockedSource | undefined> {
  try {
    return await lockSuite(suite, options, context);
  } catch (error) {
    if (!(error instanceof BerthError) || error.code === 'CANCELLED' || error.code === 'DISK_FULL') throw error;
    if (error.code !== 'SUITE_UNKNOWN') {
      context.emit({ type: 'warning', message: `Debian ${suite} is not searched: ${error.message}` });
    }
    return undefined;
  }
}

/**
 * The package of that name, and those of which the name has a version in it: `python3.12` and `gcc-11` are versions of
 * `python3` and `gcc`.
 */
function versionsOf(entries: readonly SearchEntry[], name: string): PackageVersion[] {
  const withNumber = new RegExp(`^${name.replace(/[^A-Za-z0-9]/g, '\\$&')}[-.]?\\d+(?:\\.\\d+)*$`);
  const found = entries.filter((entry) => entry.name === name);
  const numbered = entries.filter((entry) => withNumber.test(entry.name));
  return [...found.slice(0, 1), ...numbered].map((entry) => ({
    name: entry.name,
    version: entry.version,
    upstream: upstreamVersion(entry.version),
  }));
}

/** A no-op when index and bootstrap are in the store, else they are made again from what the lock names. */
async function ensureIndex(pin: DebianPin, options: DebianSourceOptions, context: SourceContext): Promise<void> {
  const { storePaths } = options;
  const valid = await Promise.all([
    storePaths.isValid(pin.index.path, context.signal),
    storePaths.isValid(pin.bootstrap.path, context.signal),
  ]);
  if (valid.every(Boolean)) return;
  const downloads = downloadsOf(options, context);
  const own = { ...options, architecture: pin.architecture };
  const again = await buildIndex(pin.suite, pin.pockets, await mirrorsOf(options), downloads, own, context);
  for (const what of ['index', 'bootstrap'] as const) {
    if (again[what].path === pin[what].path) continue;
    throw new BerthError(
      'HASH_MISMATCH',
      `The ${what} of Debian ${pin.suite} is ${again[what].path}, but the lock says ${pin[what].path}.`,
      { hint: 'Run `berth lock --update debian`: the lock was written by another version of Berth.' },
    );
  }
}

/** Finds the suite, its updates and its security fixes, and checks their signatures. */
async function findPockets(
  suite: string,
  mirrors: DebianMirrors,
  downloads: Downloads,
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<DebianPocket[]> {
  if (!/^[a-z][a-z0-9.-]*$/.test(suite)) {
    throw new BerthError('SUITE_UNKNOWN', `\`${suite}\` is no name of a Debian suite.`);
  }
  const found = await Promise.all(
    (
      [
        ['main', suite],
        ['main', `${suite}-updates`],
        ['security', `${suite}-security`],
      ] as const
    ).map(async ([archive, name]) => findPocket(archive, name, mirrors, downloads, options, context)),
  );
  if (found[0] === undefined) {
    throw new BerthError('SUITE_UNKNOWN', `The mirror ${mirrors.main.join(', ')} has no suite \`${suite}\`.`);
  }
  return found.filter((pocket) => pocket !== undefined);
}

async function findPocket(
  archive: DebianPocket['archive'],
  suite: string,
  mirrors: DebianMirrors,
  downloads: Downloads,
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<DebianPocket | undefined> {
  // A snapshot archive has no "current" state to ask for.
  const current = mirrors[archive].filter((url) => !url.includes('{timestamp}'));
  if (current.length === 0) return undefined;
  const answer = await downloads.get(current.map((url) => `${url}/dists/${suite}/InRelease`));
  if (!answer) return undefined;
  const text = await verifyInRelease(answer.bytes.toString('utf8'), `${suite} at ${answer.url}`, {
    gpgv: options.gpgv ?? 'gpgv',
    keyrings: options.keyrings ?? defaultKeyrings,
    ...(context.signal ? { signal: context.signal } : {}),
  });
  const release = parseRelease(text);
  checkFresh(release, suite, options, context);
  return {
    archive,
    suite,
    date: release.date.toISOString(),
    release: createHash('sha256').update(text).digest('hex'),
    lists: listsOf(release, options),
  };
}

function checkFresh(release: Release, suite: string, options: DebianSourceOptions, context: SourceContext): void {
  if (Number.isNaN(release.date.getTime())) {
    throw new BerthError('SIGNATURE_INVALID', `The Release file of ${suite} has no valid date.`);
  }
  if (release.validUntil === undefined || release.validUntil.getTime() > Date.now()) return;
  const message = `The Release file of ${suite} was valid until ${release.validUntil.toISOString()}`;
  if (options.checkValidUntil ?? true) throw new BerthError('RELEASE_EXPIRED', `${message}.`);
  context.emit({ type: 'warning', message: `${message}; it is used all the same, as the settings say.` });
}

/** The package lists of the wanted components, in the first form that the archive has. */
function listsOf(release: Release, options: DebianSourceOptions): DebianPocket['lists'] {
  const lists: DebianPocket['lists'] = [];
  for (const component of options.components ?? defaultComponents) {
    if (!release.components.includes(component)) continue;
    const base = `${component}/binary-${options.architecture ?? 'amd64'}/Packages`;
    const path = [`${base}.gz`, `${base}.xz`, base].find((candidate) => release.files.has(candidate));
    const file = path === undefined ? undefined : release.files.get(path);
    if (path !== undefined && file) lists.push({ component, path, sha256: file.sha256 });
  }
  return lists;
}

async function buildIndex(
  suite: string,
  pockets: readonly DebianPocket[],
  mirrors: DebianMirrors,
  downloads: Downloads,
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<DebianPin> {
  const packages: DebianPackage[] = [];
  for (const pocket of pockets) packages.push(...(await packagesOf(pocket, mirrors, downloads)));
  context.signal?.throwIfAborted();
  const resolved = resolvePackages(newestVersions(packages));
  const index = await addFolder(`debian-${suite}-index`, options, context, (folder) =>
    writePackageIndex(folder, resolved),
  );
  const bootstrap = await addBootstrap(resolved, pockets, mirrors, downloads, options, context);
  const pin = { ...pinWithoutPaths(suite, pockets, options), index, bootstrap };
  await writeFileAtomically(pinFile(pin, options), JSON.stringify(pin));
  return pin;
}

type PinOfReleases = Omit<DebianPin, 'index' | 'bootstrap'>;

function pinWithoutPaths(suite: string, pockets: readonly DebianPocket[], options: DebianSourceOptions): PinOfReleases {
  return { format: indexFormat, suite, architecture: options.architecture ?? 'amd64', pockets: [...pockets] };
}

/** Where the pin of these releases is remembered, so that the next project that locks them makes no index. */
function pinFile({ format, suite, architecture, pockets }: PinOfReleases, options: DebianSourceOptions) {
  const digest = digestOfJson({ format, suite, architecture, pockets }).slice('sha256:'.length);
  return join(options.folder, 'pins', `${digest}.json`);
}

/** @returns the pin that was made of these releases before, while its paths are in the store */
async function knownPin(
  suite: string,
  pockets: readonly DebianPocket[],
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<DebianPin | undefined> {
  const text = await readTextIfThere(pinFile(pinWithoutPaths(suite, pockets, options), options));
  if (text === undefined) return undefined;
  const pin = debianPinSchema.parse(JSON.parse(text));
  const { isValid } = options.storePaths;
  const valid = await Promise.all([pin.index, pin.bootstrap].map(({ path }) => isValid(path, context.signal)));
  return valid.every(Boolean) ? pin : undefined;
}

async function packagesOf(
  pocket: DebianPocket,
  mirrors: DebianMirrors,
  downloads: Downloads,
): Promise<DebianPackage[]> {
  const packages: DebianPackage[] = [];
  for (const { component, path, sha256 } of pocket.lists) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const urls = baseUrls(mirrors, pocket).flatMap((url) => [
      // By its hash first: that stays right while the mirror is being updated.
      `${url}/dists/${pocket.suite}/${folder}/by-hash/SHA256/${sha256}`,
      `${url}/dists/${pocket.suite}/${path}`,
    ]);
    const text = await unpackList(path, await downloads.getByHash(urls, sha256));
    for (const paragraph of parseParagraphs(text, packageFields)) {
      const entry = packageOf(paragraph, component, pocket.archive);
      if (entry) packages.push(entry);
      // The daemon must stay able to answer while 60,000 packages are read.
      if (packages.length % 2000 === 0) await setImmediate();
    }
  }
  return packages;
}

async function unpackList(path: string, bytes: Buffer): Promise<string> {
  if (path.endsWith('.gz')) return (await promisify(gunzip)(bytes)).toString('utf8');
  return (path.endsWith('.xz') ? await unpackXz(bytes) : bytes).toString('utf8');
}

/** The suite's own busybox unpacks its packages: no program of the host takes part in a build. */
async function addBootstrap(
  packages: readonly ResolvedPackage[],
  pockets: readonly DebianPocket[],
  mirrors: DebianMirrors,
  downloads: Downloads,
  options: DebianSourceOptions,
  context: SourceContext,
): Promise<DebianPin['bootstrap']> {
  const entry = packages.find((candidate) => candidate.package.name === 'busybox-static')?.package;
  if (!entry) throw new BerthError('SUITE_UNKNOWN', 'The suite has no package `busybox-static`, which Berth needs.');
  const pocket = pockets.find((candidate) => candidate.archive === entry.archive) ?? pockets[0];
  const urls = pocket === undefined ? [] : baseUrls(mirrors, pocket).map((url) => `${url}/${entry.filename}`);
  const deb = await downloads.getByHash(urls, entry.sha256);
  const busybox = await fileOfDeb(deb, ['bin/busybox', 'usr/bin/busybox'], context.signal);
  return addFolder('debian-bootstrap', options, context, async (folder) => {
    await mkdir(join(folder, 'bin'));
    await writeFile(join(folder, 'bin/busybox'), busybox);
    await chmod(join(folder, 'bin/busybox'), 0o755);
    for (const applet of bootstrapApplets) await symlink('busybox', join(folder, 'bin', applet));
  });
}

/** Makes a folder, adds it to the store and takes it away again, whatever happens. */
async function addFolder(
  name: string,
  options: DebianSourceOptions,
  context: SourceContext,
  fill: (folder: string) => Promise<void>,
): Promise<{ path: StorePath; narHash: string }> {
  try {
    await mkdir(options.folder, { recursive: true });
    const temporary = await mkdtemp(join(options.folder, 'new-'));
    try {
      const folder = join(temporary, name);
      await mkdir(folder);
      await fill(folder);
      return await options.storePaths.add(folder, context.signal);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    throw diskErrorOf(error, options.folder);
  }
}

function preparedSource(pin: DebianPin, mirrors: DebianMirrors, options: DebianSourceOptions): PreparedSource {
  return {
    kind: 'debian',
    nix: {
      index: pin.index.path,
      bootstrap: pin.bootstrap.path,
      suite: pin.suite,
      system: systems[pin.architecture],
      mirrors: {
        main: archiveUrls('main', pin, mirrors),
        security: archiveUrls('security', pin, mirrors),
      },
      allowUnfree: options.allowUnfree ?? false,
    },
    storePaths: [pin.index.path, pin.bootstrap.path],
  };
}

function archiveUrls(archive: DebianPocket['archive'], pin: DebianPin, mirrors: DebianMirrors): string[] {
  // The newest state of the archive that the lock has seen still holds the files of its other pockets.
  const dates = pin.pockets.filter((pocket) => pocket.archive === archive).map((pocket) => pocket.date);
  const date = dates.sort().at(-1);
  return mirrors[archive].map((url) => atTime(url, date ?? pin.pockets[0]?.date ?? ''));
}

function baseUrls(mirrors: DebianMirrors, pocket: DebianPocket): string[] {
  return mirrors[pocket.archive].map((url) => atTime(url, pocket.date));
}

/** @returns a snapshot archive's URL at a moment; other URLs as they are */
function atTime(url: string, isoDate: string): string {
  return url.replace('{timestamp}', isoDate.replace(/[-:]|\.\d+/g, ''));
}

function downloadsOf(options: DebianSourceOptions, context: SourceContext): Downloads {
  return createDownloads({
    folder: join(options.folder, 'downloads'),
    emit: context.emit,
    ...(context.signal ? { signal: context.signal } : {}),
  });
}

async function mirrorsOf(options: DebianSourceOptions): Promise<DebianMirrors> {
  const mirrors = await options.mirrors();
  if (mirrors.main.length > 0) return mirrors;
  throw new BerthError('MIRROR_UNREACHABLE', 'No Debian mirror is known: apt on this host has none.', {
    hint: 'Set BERTH_DEBIAN_MIRROR to the URL of one: what stands before `/dists`.',
  });
}

function pinOf(locked: LockedSource): DebianPin {
  const parsed = debianPinSchema.safeParse(locked.pin);
  if (parsed.success) return parsed.data;
  throw new BerthError(
    'LOCK_INVALID',
    'The entry for Debian in berth.lock is damaged or of another version of Berth.',
    {
      hint: 'Lock the source anew with `berth lock --update`.',
      cause: parsed.error,
    },
  );
}

/** nixpkgs' names can be searched too; each shows the version of the first package that it stands for. */
async function aliasEntries(entries: readonly SearchEntry[], file: string | undefined): Promise<SearchEntry[]> {
  if (file === undefined) return [];
  const aliases = JSON.parse(await readFile(file, 'utf8')) as Record<string, readonly (readonly string[])[]>;
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const found: SearchEntry[] = [];
  for (const [name, groups] of Object.entries(aliases)) {
    const target = groups[0]?.map((candidate) => byName.get(candidate)).find((entry) => entry !== undefined);
    if (target && !byName.has(name)) found.push({ ...target, name });
  }
  return found;
}
