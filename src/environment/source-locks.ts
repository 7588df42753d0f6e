/**
 * The sources of a config: locked when first asked for, the same for ever after, brought into the store before use. A
 * later change of a setting changes no lock.
 */
import type { ConfigFile } from '../config/config-file.ts';
import { readLock, writeLock, type Lock } from '../config/lock.ts';
import { BerthError } from '../core/errors.ts';
import { KeyedMutex } from '../core/keyed-mutex.ts';
import type { KeptSource } from './storage-records.ts';
import type { LockedSource, PackageMatch, PreparedSource, Source, SourceContext } from '../sources/source.ts';

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

export interface SourceLocks {
  /** @param system Nix's name of another system than this machine's, whose packages are meant */
  read(config: ConfigFile, system?: string): Readonly<Record<string, LockedSource>>;
  /** The kind that the config's default source has, or would get. */
  defaultKind(config: ConfigFile): LockedSource['kind'];
  /** Locks a source that a config asks for by its name; a no-op when it is locked. */
  lockNamed(config: ConfigFile, name: string, context: SourceContext): Promise<void>;
  /** Asks upstream again for these sources. @returns the names whose lock has changed */
  update(config: ConfigFile, names: readonly string[], context: SourceContext): Promise<string[]>;
  /** Brings all locked sources into the store. */
  prepareAll(config: ConfigFile, context: SourceContext): Promise<Record<string, PreparedSource>>;
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

  function read(config: ConfigFile): Lock['sources'] {
    return readLock(config.lockFile).sources;
  }

  async function save(config: ConfigFile, name: string, locked: LockedSource): Promise<void> {
    await writing.run(config.lockFile, async () => {
      const lock = readLock(config.lockFile);
      await writeLock(config.lockFile, { ...lock, sources: { ...lock.sources, [name]: locked } });
    });
  }

  async function lockNew(name: string, context: SourceContext): Promise<LockedSource> {
    const kind = kindOf(name);
    context.emit({ type: 'phase.started', phase: 'lock', detail: name });
    const start = performance.now();
    const locked = await options.sources[kind].lock({}, context).catch((error: unknown) => {
      const fallback = options.fallback(kind);
      if (!(error instanceof BerthError) || error.code !== 'MIRROR_UNREACHABLE' || !fallback) throw error;
      context.emit({ type: 'warning', message: `${error.message} ${fallback.label} is used, which is in the store.` });
      return fallback;
    });
    context.emit({ type: 'phase.finished', phase: 'lock', ms: Math.round(performance.now() - start) });
    return locked;
  }

  return {
    read,
    defaultKind: (config) => read(config)[defaultSourceName]?.kind ?? options.defaultKind,
    async lockNamed(config, name, context) {
      if (read(config)[name]) return;
      await save(config, name, await lockNew(name, context));
    },
    async update(config, names, context) {
      const before = read(config);
      const wanted = names.length > 0 ? names : Object.keys(before);
      const changed: string[] = [];
      for (const name of wanted) {
        const was = before[name];
        const kind = was?.kind ?? kindOf(name);
        const locked = await options.sources[kind].lock(requestOf(was), context);
        if (JSON.stringify(locked) === JSON.stringify(was)) continue;
        await save(config, name, locked);
        changed.push(name);
      }
      return changed;
    },
    async prepareAll(config, context) {
      const prepared = await Promise.all(
        Object.entries(read(config)).map(async ([name, locked]) => {
          const source = await options.sources[locked.kind].prepare(locked, context);
          await options.keep({ locked, storePaths: source.storePaths }, config.lockFile);
          return [name, source] as const;
        }),
      );
      return Object.fromEntries(prepared);
    },
    async search(config, query, limit, context) {
      const locked = config ? read(config) : {};
      const searched = Object.keys(locked).length > 0 ? locked : { pkgs: await lockNew(defaultSourceName, context) };
      const found: PackageMatch[] = [];
      for (const source of Object.values(searched)) {
        found.push(...(await options.sources[source.kind].search(source, query, limit, context)));
      }
      return found.slice(0, limit);
    },
    async nearest(config, name, context) {
      const found: string[] = [];
      for (const source of Object.values(read(config))) {
        found.push(...(await options.sources[source.kind].nearest(source, name, context)));
      }
      return [...new Set(found)].slice(0, 3);
    },
    async require(config, names, context) {
      if (Object.keys(read(config)).length === 0) await this.lockNamed(config, defaultSourceName, context);
      const locked = Object.entries(read(config));
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
