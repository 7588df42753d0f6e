/** Nix in Berth's words: everything that the rest of Berth does with it goes through this. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, digestOfJson, type Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { addToStore } from './add-to-store.ts';
import { createStoreDatabase } from './closure.ts';
import {
  collectGarbage,
  deletePaths,
  leftoversInStore,
  type Collected,
  type CollectOptions,
  type Deleted,
  type DeletePathsOptions,
} from './collect-garbage.ts';
import { copyFromCache, copyToCache, type CopyOptions } from './copy.ts';
import type { NamedDerivation } from './derivation/derivation.ts';
import { evaluateTogether, type EvaluatedTogether, type TogetherRequest } from './evaluate-together.ts';
import { evaluate, removeLeftovers, requestForNix, type EvaluateRequest, type Evaluation } from './evaluate.ts';
import type { EvaluationLimits } from './evaluation-sandbox.ts';
import { fetchDeclared, type DeclaredFetch, type Fetched } from './declared-fetches.ts';
import { listPackages, type ListedPackage } from './list-packages.ts';
import type { PreparedSource } from './prepared-source.ts';
import { createGcRoots, type GcRoots } from './gc-roots.ts';
import { NixDaemon } from './nix-daemon.ts';
import { createNixProcess, programsIn, type NixProcess, type NixPrograms } from './nix-process.ts';
import type { NixSettings } from './nix-settings.ts';
import { realise, type Realised, type RealiseOptions } from './realise.ts';
import type { PathInfo } from './path-info.ts';
import { physicalPath, storeDirectory, type Closure, type Store, type StorePath } from './store.ts';
import type { StoreGraph } from './store-graph.ts';
import { detectVersion, type NixVersion } from './version.ts';
import { addDerivations } from './worker-client.ts';

export interface NixOptions {
  readonly store: Store;
  /** Berth's own `nix` folder (Nix code only). */
  readonly nixFolder: string;
  /** A folder for Nix's caches: `$BERTH_HOME/nix`. */
  readonly home: string;
  /** A folder for sockets and what lives as long as one evaluation; a short path. Default: `home`/run. */
  readonly runFolder?: string;
  readonly settings: NixSettings;
  /** Default: the programs on PATH. */
  readonly programs?: NixPrograms;
  /** PATH, and proxies if there are any. Nothing else of the host's environment reaches Nix. */
  readonly environment: Readonly<Record<string, string>>;
  readonly limits?: Partial<EvaluationLimits>;
}

export interface Nix {
  readonly store: Store;
  readonly roots: GcRoots;
  /** For what has no verb here yet. */
  readonly process: NixProcess;
  /** @throws BerthError TOOL_MISSING when Nix is not there or too old */
  version(): Promise<NixVersion>;
  /** Runs the config in the sandbox. Faults of the config are results; TOOL_MISSING and CANCELLED are thrown. */
  evaluate(request: EvaluateRequest, signal?: AbortSignal): Promise<Evaluation>;
  /** Evaluates several configs of one source at once, without a trace: configs that Berth itself writes. */
  evaluateTogether(request: TogetherRequest, signal?: AbortSignal): Promise<EvaluatedTogether>;
  /** Brings derivations into the store, each after those that it refers to. They have no root: hold a collection off. */
  addDerivations(derivations: readonly NamedDerivation[], signal?: AbortSignal): Promise<void>;
  /** Everything that decides an evaluation beside what it reads: the request, Berth's Nix code, Nix's settings. */
  evaluationDigest(request: EvaluateRequest): Digest;
  /** Digest of Berth's Nix code. */
  codeDigest(): Digest;
  /** The packages of a source that is a tree of Nix files. */
  listPackages(
    source: PreparedSource,
    options: { readonly namesOnly: boolean; readonly signal?: AbortSignal },
  ): Promise<ListedPackage[]>;
  /** Fetches what is pinned by a hash, or `fetchTree` without one, into the store. */
  fetch(fetch: Omit<DeclaredFetch, 'key'>, signal?: AbortSignal): Promise<Fetched>;
  realise(paths: readonly string[], options?: RealiseOptions): Promise<Realised>;
  closureOf(paths: readonly string[]): Promise<Closure>;
  /** The NAR size of each of the paths, in bytes. */
  sizesOf(paths: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** Those of the paths that are valid. */
  validPaths(paths: readonly string[]): Promise<StorePath[]>;
  /** What the store knows of the valid path with these 32 characters before its name. */
  pathInfo(hashPart: string): Promise<PathInfo | undefined>;
  /** The hash of a valid path's NAR, as `sha256-…`. */
  narHashOf(path: string): Promise<string>;
  addToStore(
    path: string,
    name?: string,
    signal?: AbortSignal,
    options?: { readonly linkEqualFiles?: boolean },
  ): Promise<StorePath>;
  /** The whole store: every valid path with its size and what it refers to. */
  graph(): Promise<StoreGraph>;
  collectGarbage(options?: CollectOptions): Promise<Collected>;
  /** Deletes these paths, each named after all that refer to it; what has come into use meanwhile stays. */
  deletePaths(paths: readonly StorePath[], options?: DeletePathsOptions): Promise<Deleted>;
  /** Names in the store's folder that a crash has left there. */
  leftoversInStore(valid: ReadonlySet<string>): Promise<string[]>;
  copyToCache(cache: string, paths: readonly string[], options?: CopyOptions): Promise<void>;
  copyFromCache(
    cache: string,
    paths: readonly string[],
    options?: CopyOptions & { readonly trust?: 'signed' | 'all' },
  ): Promise<void>;
  /** A nix-daemon with its socket in that folder, for containers that have Nix; the caller stops it. */
  daemon(folder: string): NixDaemon;
  /** Ends what this has started. */
  close(): Promise<void>;
}

const hostSocket = '/nix/var/nix/daemon-socket/socket';
const hostDaemon = { socket: hostSocket, ensure: () => Promise.resolve() };

/** Makes the one object through which a store is used. Starts nothing yet. */
export function createNix(options: NixOptions): Nix {
  const nix = createNixProcess({ ...options, programs: options.programs ?? programsIn() });
  const runFolder = options.runFolder ?? join(options.home, 'run');
  const database = createStoreDatabase(nix);
  const evaluator = new NixDaemon(nix, join(runFolder, 'e'));
  const dependencies = {
    nix,
    daemon: options.store.kind === 'system' && existsSync(hostSocket) ? hostDaemon : evaluator,
    nixFolder: options.nixFolder,
    runFolder,
    validPaths: (paths: readonly string[]) => database.validPaths(paths),
    ...(options.limits ? { limits: options.limits } : {}),
  };
  let version: Promise<NixVersion> | undefined;
  let clean: Promise<void> | undefined;
  let codeDigest: Digest | undefined;
  const digestOfCode = () => (codeDigest ??= folderDigest(options.nixFolder));

  const roots = createGcRoots(options.store, digestOf(options.home).slice('sha256:'.length, 'sha256:'.length + 12));

  async function firstEvaluation(): Promise<void> {
    await removeLeftovers(runFolder);
    // In the sandbox, /nix/store is the managed store: a Nix that is installed in the host's must be there too.
    const itself = options.store.kind === 'managed' ? nix.hostStorePath() : undefined;
    if (itself === undefined) return;
    if (!existsSync(physicalPath(options.store, itself))) {
      // The host's store is found by its own state folder.
      const env = nix.environment('client');
      delete env['NIX_STATE_DIR'];
      await nix.require('nix', ['copy', '--no-check-sigs', '--from', 'auto', itself], { env });
    }
    await roots.add('nix-itself', itself);
  }

  return {
    store: options.store,
    roots,
    process: nix,
    version: () => (version ??= detectVersion(nix)),
    async evaluate(request, signal) {
      await (clean ??= firstEvaluation());
      return evaluate(dependencies, request, signal);
    },
    async evaluateTogether(request, signal) {
      await (clean ??= firstEvaluation());
      return evaluateTogether(dependencies, request, signal);
    },
    async addDerivations(derivations, signal) {
      await dependencies.daemon.ensure();
      await addDerivations(dependencies.daemon.socket, derivations, signal);
    },
    evaluationDigest: (request) =>
      digestOfJson({
        // Variables are observed one by one, so that one that nobody reads changes nothing.
        request: { ...requestForNix(request), passedVariables: null },
        code: digestOfCode(),
        importFromDerivation: options.settings.allowImportFromDerivation ?? false,
      }),
    codeDigest: digestOfCode,
    async listPackages(source, listOptions) {
      await (clean ??= firstEvaluation());
      return listPackages(dependencies, source, listOptions);
    },
    fetch: (fetch, signal) => fetchDeclared(nix, fetch, signal),
    realise: (paths, realiseOptions) => realise(nix, paths, realiseOptions),
    closureOf: (paths) => database.closureOf(paths),
    validPaths: (paths) => database.validPaths(paths),
    pathInfo: (hashPart) => database.pathInfo(hashPart),
    sizesOf: (paths) => database.sizesOf(paths),
    graph: () => database.graph(),
    async narHashOf(path) {
      const info = await database.pathInfo(path.slice(`${storeDirectory}/`.length).slice(0, 32));
      if (info?.path !== path) throw new BerthError('INTERNAL', `${path} is not valid in the store.`);
      return `sha256-${Buffer.from(info.narHash).toString('base64')}`;
    },
    addToStore: (path, name, signal, options) => addToStore(nix, path, name, signal, options),
    collectGarbage: (collectOptions) => collectGarbage(nix, collectOptions),
    deletePaths: (paths, deleteOptions) => deletePaths(nix, paths, deleteOptions),
    leftoversInStore: (valid) => leftoversInStore(nix, valid),
    copyToCache: (cache, paths, copyOptions) => copyToCache(nix, cache, paths, copyOptions),
    copyFromCache: (cache, paths, copyOptions) => copyFromCache(nix, cache, paths, copyOptions),
    daemon: (folder) => new NixDaemon(nix, folder),
    async close() {
      await evaluator.stop();
      database.close();
    },
  };
}

/** @returns the digest of all files of a folder, by their names and contents */
function folderDigest(folder: string): Digest {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return digestOfJson(files.map((file) => [file.slice(folder.length), digestOf(readFileSync(file))]));
}
