/** The typed client of the daemon's API. The command and the web console's server side use nothing else. */
import { BerthError, type ErrorReport } from '../core/errors.ts';
import type { PoolStatus } from '../engine/engine.ts';
import type { PublishedEvent } from '../core/events.ts';
import type { ImagesUsage } from '../daemon/api/kept-images.ts';
import type { Explanation } from '../environment/explain.ts';
import type { BuildImageRequest, BuildImageResult } from '../environment/images.ts';
import type {
  BerthHistory,
  BerthSummary,
  EditOptions,
  EnvironmentRequest,
  EnvironmentResult,
  EphemeralBerth,
  LockResult,
  PackagesEdited,
  RollbackResult,
  UpRequest,
  UpResult,
} from '../environment/service.ts';
import type {
  DiskUsage,
  GarbageReport,
  SeedAddRequest,
  SeedMoveRequest,
  SeedsAdded,
  SeedsMoved,
  SeedSuggestion,
  SeedSummary,
} from '../environment/storage.ts';
import type { PackageMatch } from '../sources/source.ts';
import type { BuildSummary } from '../builder/builder.ts';
import { readEvents } from './sse.ts';
import { readAnswer, type Transport } from './transport.ts';

export interface CallOptions {
  /** Called with each event of the work. */
  readonly onEvent?: (event: PublishedEvent) => void;
  /** Aborting it cancels the work, unless others wait for the same. */
  readonly signal?: AbortSignal;
}

export interface PackagesRequest extends EditOptions {
  readonly path: string;
  readonly names: readonly string[];
}

export interface DaemonInfo {
  readonly version: string;
  readonly build: string;
  readonly pid: number;
  readonly home: string;
  readonly startedAt: string;
  readonly managed: boolean;
  readonly inFlight: number;
}

/** A berth that the daemon keeps for as long as this process holds it. */
export interface HeldBerth {
  readonly berth: EphemeralBerth;
  /** Lets go: the daemon removes the berth. It does the same when this process dies. */
  release(): Promise<void>;
}

export interface Client {
  up(request: UpRequest, options?: CallOptions): Promise<UpResult>;
  environment(request: EnvironmentRequest, options?: CallOptions): Promise<EnvironmentResult>;
  buildImage(request: BuildImageRequest, options?: CallOptions): Promise<BuildImageResult>;
  run(request: UpRequest, options?: CallOptions): Promise<HeldBerth>;
  list(options?: CallOptions): Promise<BerthSummary[]>;
  get(nameOrId: string, options?: CallOptions): Promise<BerthSummary>;
  start(nameOrId: string, options?: CallOptions): Promise<BerthSummary>;
  stop(nameOrId: string, graceMs: number, options?: CallOptions): Promise<void>;
  remove(nameOrId: string, options?: CallOptions): Promise<void>;
  logs(nameOrId: string, follow: boolean, options?: CallOptions): AsyncIterable<Uint8Array>;
  explain(request: EnvironmentRequest, options?: CallOptions): Promise<Explanation>;
  lock(path: string, update: readonly string[] | undefined, options?: CallOptions): Promise<LockResult>;
  search(path: string | undefined, query: string, limit: number, options?: CallOptions): Promise<PackageMatch[]>;
  addPackages(request: PackagesRequest, options?: CallOptions): Promise<PackagesEdited>;
  removePackages(request: PackagesRequest, options?: CallOptions): Promise<PackagesEdited>;
  history(nameOrId: string, options?: CallOptions): Promise<BerthHistory>;
  /** @param to a generation; undefined: the one before */
  rollback(nameOrId: string, to: number | undefined, options?: CallOptions): Promise<RollbackResult>;
  /** Makes a berth follow its config until it is cancelled; tells by events. */
  watch(request: UpRequest, options?: CallOptions): Promise<void>;
  addSeeds(request: SeedAddRequest, options?: CallOptions): Promise<SeedsAdded>;
  listSeeds(options?: CallOptions): Promise<SeedSummary[]>;
  removeSeeds(names: readonly string[], options?: CallOptions): Promise<void>;
  exportSeeds(file: string, request: SeedMoveRequest, options?: CallOptions): Promise<SeedsMoved>;
  importSeeds(file: string, trust: boolean, options?: CallOptions): Promise<SeedsMoved>;
  pushSeeds(place: string, request: SeedMoveRequest, options?: CallOptions): Promise<SeedsMoved>;
  pullSeeds(place: string, trust: boolean, options?: CallOptions): Promise<SeedsMoved>;
  suggestSeeds(limit: number, options?: CallOptions): Promise<SeedSuggestion[]>;
  collectGarbage(dryRun: boolean, options?: CallOptions): Promise<GarbageReport>;
  diskUsage(options?: CallOptions): Promise<DiskUsage>;
  listImages(options?: CallOptions): Promise<ImagesUsage>;
  /** @param reference `repository:tag`, a digest, or the beginning of one */
  pinImage(reference: string, pinned: boolean, options?: CallOptions): Promise<{ digest: string }>;
  removeImage(reference: string, options?: CallOptions): Promise<{ digest: string; freedBytes: number }>;
  listBuilds(active: boolean, options?: CallOptions): Promise<BuildSummary[]>;
  getBuild(id: string, options?: CallOptions): Promise<BuildSummary>;
  buildLog(id: string, follow: boolean, options?: CallOptions): AsyncIterable<Uint8Array>;
  cancelBuild(id: string, options?: CallOptions): Promise<void>;
  daemon(options?: CallOptions): Promise<DaemonInfo>;
  /** Tells the daemon to leave once it has no work. */
  pool(options?: CallOptions): Promise<PoolStatus[]>;
  stopDaemon(options?: CallOptions): Promise<void>;
  /** All that happens, from now or from after `lastEventId` on. */
  events(lastEventId?: number, options?: CallOptions): AsyncIterable<{ id: number; event: PublishedEvent }>;
}

export function createClient(transport: Transport): Client {
  const ask = async <T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, options?: CallOptions) =>
    readAnswer<T>(await transport({ method, path, body, ...signalOf(options) }));
  const work = async <T>(method: 'GET' | 'POST', path: string, body: unknown, options?: CallOptions) => {
    const { result, end } = await openWork(transport, method, path, body, options);
    await end();
    return result as T;
  };
  const berthPath = (nameOrId: string) => `/v1/berths/${encodeURIComponent(nameOrId)}`;

  return {
    up: (request, options) => work('POST', '/v1/berths', request, options),
    environment: (request, options) => work('POST', '/v1/environments', request, options),
    buildImage: (request, options) => work('POST', '/v1/images', request, options),
    async run(request, options) {
      const { result, end } = await openWork(transport, 'POST', '/v1/runs', request, options);
      return { berth: result as EphemeralBerth, release: end };
    },
    list: async (options) => (await ask<{ berths: BerthSummary[] }>('GET', '/v1/berths', undefined, options)).berths,
    get: (nameOrId, options) => ask('GET', berthPath(nameOrId), undefined, options),
    start: (nameOrId, options) => work('POST', `${berthPath(nameOrId)}/start`, undefined, options),
    async stop(nameOrId, graceMs, options) {
      await ask('POST', `${berthPath(nameOrId)}/stop`, { graceMs }, options);
    },
    async remove(nameOrId, options) {
      await ask('DELETE', berthPath(nameOrId), undefined, options);
    },
    pool: async (options) => (await ask<{ pools: PoolStatus[] }>('GET', '/v1/pool', undefined, options)).pools,
    async *logs(nameOrId, follow, options) {
      const path = `${berthPath(nameOrId)}/logs?follow=${follow}`;
      const response = await transport({
        method: 'GET',
        path,
        accept: 'application/octet-stream',
        ...signalOf(options),
      });
      if (response.status !== 200) await readAnswer(response);
      for await (const chunk of response.body) yield chunk as Uint8Array;
    },
    explain: (request, options) => work('POST', '/v1/explain', request, options),
    lock: (path, update, options) => work('POST', '/v1/locks', { path, update }, options),
    async search(path, query, limit, options) {
      const parameters = new URLSearchParams({ query, limit: String(limit), ...(path === undefined ? {} : { path }) });
      const address = `/v1/packages/search?${parameters.toString()}`;
      return (await work<{ packages: PackageMatch[] }>('GET', address, undefined, options)).packages;
    },
    addPackages: (request, options) => work('POST', '/v1/packages/add', request, options),
    removePackages: (request, options) => work('POST', '/v1/packages/remove', request, options),
    history: (nameOrId, options) => ask('GET', `${berthPath(nameOrId)}/generations`, undefined, options),
    rollback: (nameOrId, to, options) => work('POST', `${berthPath(nameOrId)}/rollback`, { to }, options),
    async watch(request, options) {
      await work('POST', '/v1/watches', request, options);
    },
    addSeeds: (request, options) => work('POST', '/v1/seeds', request, options),
    listSeeds: async (options) => (await ask<{ seeds: SeedSummary[] }>('GET', '/v1/seeds', undefined, options)).seeds,
    async removeSeeds(names, options) {
      await ask('POST', '/v1/seeds/remove', { names }, options);
    },
    exportSeeds: (file, request, options) => work('POST', '/v1/seeds/export', { file, ...request }, options),
    importSeeds: (file, trust, options) => work('POST', '/v1/seeds/import', { file, trust }, options),
    pushSeeds: (place, request, options) => work('POST', '/v1/seeds/push', { place, ...request }, options),
    pullSeeds: (place, trust, options) => work('POST', '/v1/seeds/pull', { place, trust }, options),
    async suggestSeeds(limit, options) {
      const path = `/v1/seeds/suggestions?limit=${limit}`;
      return (await ask<{ suggestions: SeedSuggestion[] }>('GET', path, undefined, options)).suggestions;
    },
    collectGarbage: (dryRun, options) => work('POST', '/v1/garbage-collections', { dryRun }, options),
    diskUsage: (options) => ask('GET', '/v1/disk-usage', undefined, options),
    listImages: (options) => ask('GET', '/v1/images', undefined, options),
    pinImage: (reference, pinned, options) => ask('POST', '/v1/images/pin', { reference, pinned }, options),
    removeImage: (reference, options) =>
      ask('DELETE', `/v1/images?reference=${encodeURIComponent(reference)}`, undefined, options),
    listBuilds: async (active, options) =>
      (await ask<{ builds: BuildSummary[] }>('GET', `/v1/builds?active=${active}`, undefined, options)).builds,
    getBuild: (id, options) => ask('GET', `/v1/builds/${encodeURIComponent(id)}`, undefined, options),
    async *buildLog(id, follow, options) {
      const path = `/v1/builds/${encodeURIComponent(id)}/log?follow=${follow}`;
      const response = await transport({
        method: 'GET',
        path,
        accept: 'application/octet-stream',
        ...signalOf(options),
      });
      if (response.status !== 200) await readAnswer(response);
      for await (const chunk of response.body) yield chunk as Uint8Array;
    },
    async cancelBuild(id, options) {
      await ask('DELETE', `/v1/builds/${encodeURIComponent(id)}`, undefined, options);
    },
    daemon: (options) => ask('GET', '/v1/daemon', undefined, options),
    async stopDaemon(options) {
      await ask('POST', '/v1/daemon/stop', undefined, options);
    },
    async *events(lastEventId, options) {
      const headers = lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) };
      const path = '/v1/events';
      const response = await transport({
        method: 'GET',
        path,
        accept: 'text/event-stream',
        headers,
        ...signalOf(options),
      });
      if (response.status !== 200) await readAnswer(response);
      for await (const { id, data } of readEvents(response.body)) {
        yield { id: Number(id), event: JSON.parse(data) as PublishedEvent };
      }
    },
  };
}

/** Does long work by an event stream, which stays open after the result until `end` is called. */
async function openWork(
  transport: Transport,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  options: CallOptions = {},
): Promise<{ result: unknown; end: () => Promise<void> }> {
  const response = await transport({ method, path, body, accept: 'text/event-stream', ...signalOf(options) });
  if (response.status !== 200) await readAnswer(response);
  const events = readEvents(response.body)[Symbol.asyncIterator]();
  const end = (): Promise<void> => {
    const closed = new Promise<void>((resolve) => {
      if (response.body.closed) resolve();
      else response.body.once('close', resolve);
    });
    response.body.on('error', () => undefined);
    response.body.destroy();
    return closed;
  };
  try {
    for (;;) {
      const next = await events.next();
      if (next.done) break;
      const { event, data } = next.value;
      if (event === 'event') options.onEvent?.(JSON.parse(data) as PublishedEvent);
      else if (event === 'error') throw BerthError.fromReport(JSON.parse(data) as ErrorReport);
      else if (event === 'result') return { result: JSON.parse(data) as unknown, end };
    }
  } catch (error) {
    await end();
    if (error instanceof BerthError) throw error;
    if (options.signal?.aborted) throw new BerthError('CANCELLED', 'The work was cancelled.', { cause: error });
    throw new BerthError('DAEMON_UNREACHABLE', 'The daemon went away during the work.', { cause: error });
  }
  throw new BerthError('DAEMON_UNREACHABLE', 'The daemon went away during the work.');
}

function signalOf(options: CallOptions | undefined): { signal?: AbortSignal } {
  return options?.signal ? { signal: options.signal } : {};
}
