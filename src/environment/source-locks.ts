/**
 * The sources of a config: locked when first asked for, the same for ever after, brought into the store before use. A
 * later change of a setting changes no lock.
 */
import type { ConfigFile } from '../config/config-file.ts';
import { readLock, writeLock, type Lock } from '../config/lock.ts';
import { BerthError } from '../core/errors.ts';
import { KeyedMutex } from '../core/keyed-mutex.ts';
import { keepRevision, revisionName } from './revisions.ts';
import type { KeptSource } from './storage-records.ts';
import type { Json, LockedSource, PackageMatch, PreparedSource, Source, SourceContext } from '../sources/source.ts';

/** The name in the lock of what `pkgs` and `<nixpkgs>` mean. */
export const defaultSourceName = 'pkgs';

export interface SourceLocksOptions {
  readonly sources: Readonly<Record<LockedSource['kind'], Source>>;
  /** The setting `source`: the kind that `pkgs` gets at a project's first locking. */
  readonly defaultKind: 'debian' | 'nixpkgs';
  /** Told of each source that a project uses, so that it stays in the store. */
  readonly keep: (source: KeptSource, lockFile: string) => Promise<void>;
  /** A revision that is in the store already, for when upstream can't be reached. */
  readonly fallback: (kind: LockedSource['kind']) => LockedSource | undefined;
}

/** Where a user's own source comes from; `rev` is empty where there is none. */
export interface SourceAddress {
  readonly url: string;
  readonly rev: string;
}

export interface SourceLocks {
  /** @param system Nix's name of another system than this machine's, whose packages are meant */
  read(config: ConfigFile, system?: string): Readonly<Record<string, LockedSource>>;
  /** Packages of versions that the config names, as they are locked. */
  packages(config: ConfigFile): NonNullable<Lock['packages']>;
  /** Both of the above by one reading. */
  readAll(config: ConfigFile, system?: string): Required<Pick<Lock, 'sources' | 'packages'>>;
  /** Changes the lock; nobody else does meanwhile. */
  change(config: ConfigFile, change: (lock: Lock) => Lock): Promise<void>;
  /** Asks upstream for a source, without locking it anywhere. */
  lockNew(name: string, context: SourceContext, from?: SourceAddress): Promise<LockedSource>;
  /** The kind that the config's default source has, or would get. */
  defaultKind(config: ConfigFile): LockedSource['kind'];
  /**
   * Locks a source that a config asks for by its name; a no-op when it is locked.
   * @param from where a user's own source comes from
   */
  lockNamed(config: ConfigFile, name: string, context: SourceContext, from?: SourceAddress): Promise<void>;
  /** Asks upstream again for these sources. @returns the names whose lock has changed */
  update(config: ConfigFile, names: readonly string[], context: SourceContext): Promise<string[]>;
  /** Locks for another system what is locked for each system by itself; a no-op when it is. */
  lockFor(system: string, config: ConfigFile, context: SourceContext): Promise<void>;
  /** Brings all locked sources into the store, those of another system with what its packages are built by here. */
  prepareAll(config: ConfigFile, context: SourceContext, system?: string): Promise<Record<string, PreparedSource>>;
  search(config: ConfigFile | undefined, query: string, limit: number, context: SourceContext): Promise<PackageMatch[]>;
  nearest(config: ConfigFile, name: string, context: SourceContext): Promise<string[]>;
  /**
   * Makes sure that one of the config's sources has each package; the default source is locked when none is.
   * @throws BerthError UNKNOWN_PACKAGE, with the nearest names
   */
  require(config: ConfigFile, names: readonly string[], context: SourceContext): Promise<void>;
}

export function createSourceLocks(options: SourceLocksOptions): SourceLocks {
  const writing = new KeyedMutex<string>();

  function kindOf(name: string): LockedSource['kind'] {
    if (name === defaultSourceName) return options.defaultKind;
    if (name === 'debian' || name === 'nixpkgs') return name;
    throw new BerthError('SOURCE_UNKNOWN', `There is no source \`${name}\`.`, { details: { source: name } });
  }

  function readAll(config: ConfigFile, system?: string): Required<Pick<Lock, 'sources' | 'packages'>> {
    const { sources, platforms, packages = {} } = readLock(config.lockFile);
    const ofSystem = Object.fromEntries(
      Object.entries(sources).flatMap(([name, locked]) => {
        const own = isForeign(locked, system) ? platforms?.[system]?.[name] : locked;
        return own ? [[name, own]] : [];
      }),
    );
    return { sources: ofSystem, packages };
  }

  const read = (config: ConfigFile, system?: string): Lock['sources'] => readAll(config, system).sources;

  async function change(config: ConfigFile, how: (lock: Lock) => Lock): Promise<void> {
    await writing.run(config.lockFile, () => writeLock(config.lockFile, how(readLock(config.lockFile))));
  }

  function save(config: ConfigFile, name: string, locked: LockedSource): Promise<void> {
    // Packages that are pinned stay what they are.
    return change(config, (lock) => {
      const kept = keepRevision(lock, name);
      return { ...kept, sources: { ...kept.sources, [name]: locked } };
    });
  }

  function saveFor(system: string, config: ConfigFile, name: string, locked: LockedSource): Promise<void> {
    return change(config, (lock) => {
      const platforms = { ...lock.platforms, [system]: { ...lock.platforms?.[system], [name]: locked } };
      return { ...lock, platforms };
    });
  }

  async function lockNew(name: string, context: SourceContext, from?: SourceAddress): Promise<LockedSource> {
    const ownKind = from?.url.startsWith('/') ? 'path' : 'nixpkgs';
    const kind = from ? ownKind : kindOf(name);
    context.emit({ type: 'phase.started', phase: 'lock', detail: from?.url ?? name });
    const start = performance.now();
    const request = from ? { url: from.url, ...(from.rev === '' ? {} : { rev: from.rev }) } : {};
    const locked = await options.sources[kind].lock(request, context).catch((error: unknown) => {
      // What is in the store is another source than one of a user's own.
      const fallback = from ? undefined : options.fallback(kind);
      if (!(error instanceof BerthError) || error.code !== 'MIRROR_UNREACHABLE' || !fallback) throw error;
      context.emit({ type: 'warning', message: `${error.message} ${fallback.label} is used, which is in the store.` });
      return fallback;
    });
    context.emit({ type: 'phase.finished', phase: 'lock', ms: Math.round(performance.now() - start) });
    return locked;
  }

  async function prepare(config: ConfigFile, locked: LockedSource, context: SourceContext): Promise<PreparedSource> {
    const source = await options.sources[locked.kind].prepare(locked, context);
    await options.keep({ locked, storePaths: source.storePaths }, config.lockFile);
    return source;
  }

  return {
    read,
    readAll,
    packages: (config) => readAll(config).packages,
    change,
    lockNew,
    defaultKind: (config) => read(config)[defaultSourceName]?.kind ?? options.defaultKind,
    async lockNamed(config, name, context, from) {
      if (read(config)[name]) return;
      await save(config, name, await lockNew(name, context, from));
    },
    async update(config, names, context) {
      const before = read(config);
      const all = Object.entries(before).filter(([name, locked]) => name !== revisionName(locked));
      const wanted = names.length > 0 ? names : all.map(([name]) => name);
      const changed: string[] = [];
      for (const name of wanted) {
        const was = before[name];
        const kind = was?.kind ?? kindOf(name);
        const locked = await options.sources[kind].lock(requestOf(was), context);
        const others = Object.entries(readLock(config.lockFile).platforms ?? {});
        let isChanged = JSON.stringify(locked) !== JSON.stringify(was);
        if (isChanged) await save(config, name, locked);
        for (const [system, { [name]: before }] of others) {
          if (!before) continue;
          const foreign = await options.sources[kind].lock(requestOf(before), context);
          if (JSON.stringify(foreign) === JSON.stringify(before)) continue;
          isChanged = true;
          await saveFor(system, config, name, foreign);
        }
        if (isChanged) changed.push(name);
      }
      return changed;
    },
    async lockFor(system, config, context) {
      for (const [name, locked] of Object.entries(read(config))) {
        if (!isForeign(locked, system) || read(config, system)[name]) continue;
        const architecture = architectureOf(system);
        context.emit({ type: 'phase.started', phase: 'lock', detail: `${name} for ${architecture}` });
        const start = performance.now();
        const foreign = await options.sources[locked.kind].lock({ ...requestOf(locked), architecture }, context);
        context.emit({ type: 'phase.finished', phase: 'lock', ms: Math.round(performance.now() - start) });
        if (foreign.label !== locked.label) {
          const message = `${name} is locked to ${locked.label}, and for ${architecture} to ${foreign.label}: the mirror has no older one. \`berth lock --update\` takes the newest for both.`;
          context.emit({ type: 'warning', message });
        }
        await saveFor(system, config, name, foreign);
      }
    },
    async prepareAll(config, context, system) {
      const natives = read(config);
      const prepared = await Promise.all(
        Object.entries(read(config, system)).map(async ([name, locked]) => {
          const source = await prepare(config, locked, context);
          const native = natives[name];
          if (!native || !isForeign(native, system)) return [name, source] as const;
          const here = await prepare(config, native, context);
          const nix = { ...source.nix, native: nativeOf(here) };
          return [name, { ...source, nix, storePaths: [...source.storePaths, ...here.storePaths] }] as const;
        }),
      );
      return Object.fromEntries(prepared);
    },
    async search(config, query, limit, context) {
      const locked = config ? named(read(config)) : {};
      const searched = Object.keys(locked).length > 0 ? locked : { pkgs: await lockNew(defaultSourceName, context) };
      const found: PackageMatch[] = [];
      for (const source of Object.values(searched)) {
        found.push(...(await options.sources[source.kind].search(source, query, limit, context)));
      }
      return found.slice(0, limit);
    },
    async nearest(config, name, context) {
      const found: string[] = [];
      for (const source of Object.values(named(read(config)))) {
        found.push(...(await options.sources[source.kind].nearest(source, name, context)));
      }
      return [...new Set(found)].slice(0, 3);
    },
    async require(config, names, context) {
      if (Object.keys(read(config)).length === 0) await this.lockNamed(config, defaultSourceName, context);
      const locked = Object.entries(named(read(config)));
      for (const name of names) {
        // `debian.jq` asks one source, `jq` any that the config has.
        const asked = locked.flatMap(([source, entry]) =>
          name.startsWith(`${source}.`) ? [[entry, name.slice(source.length + 1)] as const] : [[entry, name] as const],
        );
        const found = await Promise.all(
          asked.map(([entry, inIt]) => options.sources[entry.kind].has(entry, inIt, context)),
        );
        if (!found.some(Boolean)) throw unknownPackage(name, await this.nearest(config, name, context));
      }
    },
  };
}

/** Without the revisions that only single packages have. */
function named(sources: Lock['sources']): Lock['sources'] {
  return Object.fromEntries(Object.entries(sources).filter(([name, locked]) => name !== revisionName(locked)));
}

/** Debian's names of architectures. */
const architectures: Readonly<Record<string, string>> = { 'x86_64-linux': 'amd64', 'aarch64-linux': 'arm64' };

function architectureOf(system: string): string {
  const architecture = architectures[system];
  if (architecture !== undefined) return architecture;
  throw new BerthError('REQUEST_INVALID', `The source debian has no packages for ${system}.`);
}

/** Whether the source is locked for each architecture by itself, and this lock is of another than the system's. */
function isForeign(locked: LockedSource, system: string | undefined): system is string {
  return system !== undefined && locked.kind === 'debian' && locked.pin['architecture'] !== architectureOf(system);
}

/** What nix/debian builds by, for packages of another system. */
function nativeOf({ nix }: PreparedSource): { readonly [key: string]: Json } {
  const { index = null, bootstrap = null, system = null } = nix;
  return { index, bootstrap, system };
}

/** @returns what to do about a package that no source has */
export function unknownPackageHint(name: string, nearest: readonly string[]): string {
  return nearest.length === 0
    ? `Look for it with \`berth search ${name}\`.`
    : `Did you mean ${nearest.join(', ')}? \`berth search ${name}\` looks further.`;
}

function unknownPackage(name: string, nearest: readonly string[]): BerthError {
  return new BerthError('UNKNOWN_PACKAGE', `There is no package \`${name}\`.`, {
    hint: unknownPackageHint(name, nearest),
    details: { name, nearest },
  });
}

/** What the user chose of a locked source, kept when it is locked anew: the suite, or where its tree comes from. */
function requestOf(locked: LockedSource | undefined): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const key of ['suite', 'url', 'architecture']) {
    const value = locked?.pin[key];
    if (typeof value === 'string') kept[key] = value;
  }
  return kept;
}
