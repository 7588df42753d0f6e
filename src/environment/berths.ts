/** Berths: containers with their environments, their records, and what may be done with them. */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { asBerthError, BerthError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import { isErrno } from '../core/files.ts';
import { KeyedMutex } from '../core/keyed-mutex.ts';
import type { BerthSpec, BerthState, Engine, Isolation, Limits, Mount } from '../engine/engine.ts';
import type { BerthContent } from '../materialise/generation.ts';
import { changedLayers, libraryMounts, makeWritableLayers, type PlacedTree } from '../materialise/library-mounts.ts';
import { projectMounts, sharedStoreMounts } from '../materialise/shared-store.ts';
import type { WaitingFolders } from '../materialise/waiting-folders.ts';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import type { Store } from '../nix/store.ts';
import { checkName, nameFor } from './berth-name.ts';
import type { BerthRecord, BerthRecords } from './berth-records.ts';
import type { Environment } from './environment.ts';
import { differenceOf } from './generation-difference.ts';
import type { Generation, GenerationOrigin } from './generations.ts';
import type { PublishedPort, UpRequest } from './service.ts';
import { finishSwitch, switchBerth, type Switched, type SwitchOptions } from './switch-berth.ts';

/** What a berth is made from. */
export interface BerthRequest {
  readonly name: string | undefined;
  readonly path: string;
  readonly directory: string;
  readonly environment: Environment;
  readonly evaluated: EvaluatedConfig;
  readonly configDigest: Digest;
  readonly origin: GenerationOrigin;
  /** Of a rollback: the generation that it leads back to. */
  readonly of?: number;
  /** Mode `image`: the image that the engine has; null in mode `shell`. */
  readonly image: Digest | null;
  readonly limits: Limits;
  readonly network: BerthSpec['network'];
  readonly isolation: Isolation;
  readonly ports: readonly PublishedPort[];
  /** Besides the store and the project. */
  readonly mounts: readonly Mount[];
  /** Trees of libraries of programming languages. */
  readonly libraries: readonly PlacedTree[];
  /** Besides the environment's own, and stronger. */
  readonly variables: Readonly<Record<string, string>>;
  readonly command: readonly string[] | null;
  readonly ephemeral: boolean;
  /** What was asked for: see BerthRecord. */
  readonly asked: UpRequest;
}

export interface BerthsOptions extends SwitchOptions {
  readonly store: Store;
  /** Holds a folder for each berth. */
  readonly directory: string;
  /** Writes what berths find in their folders. */
  readonly folders: WaitingFolders;
  /** Of every berth, under those of its environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** @returns the environment of an evaluation, where it is still known */
  readonly environmentOf: (evaluated: EvaluatedConfig) => Environment | undefined;
}

/** A berth after `up`, and from what it was switched where it was there and had another environment. */
export interface Upped {
  readonly record: BerthRecord;
  readonly switched: Switched | null;
}

export interface Berths {
  /** Makes the berth of the request, or gives the running one of that name the request's environment. */
  up(engine: Engine, request: BerthRequest, context: { emit: Emit; signal?: AbortSignal }): Promise<Upped>;
  /** Gives a berth that is there, of whatever kind, the request's environment. */
  refit(
    engine: Engine,
    record: BerthRecord,
    request: BerthRequest,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<Upped>;
  find(nameOrId: string): BerthRecord;
  all(): BerthRecord[];
  start(engine: Engine, record: BerthRecord, context: { emit: Emit; signal?: AbortSignal }): Promise<void>;
  stop(engine: Engine, record: BerthRecord, graceMs: number): Promise<void>;
  remove(engine: Engine, record: BerthRecord): Promise<void>;
  /**
   * Takes over what an earlier daemon left: berths that run go on, containers that nobody knows (of a command or a launch
   * that a crash cut off) are removed.
   */
  recover(engines: readonly Engine[], emit: Emit): Promise<void>;
}

export function createBerths(options: BerthsOptions): Berths {
  const { generations, store } = options;
  const records: BerthRecords = {
    ...options.records,
    save(record, also) {
      if (record.ephemeral) {
        ephemeral.set(record.spec.id, record);
        also?.();
      } else options.records.save(record, also);
    },
  };
  // Ephemeral berths end with their command, so they are not worth a write to the disk: what a crash leaves of them the
  // engine lists and the daemon removes when it starts.
  const ephemeral = new Map<string, BerthRecord>();
  // Of ephemeral ones, whose first environment is recorded only when they get a second.
  const firsts = new Map<string, Generation>();
  const mutex = new KeyedMutex<string>();

  const find = (nameOrId: string) =>
    ephemeral.get(nameOrId) ??
    records.find(nameOrId) ??
    [...ephemeral.values()].find((record) => record.spec.name === nameOrId);

  const mountsOf = ({ image, directory, isolation, environment, mounts }: BerthRequest): Mount[] => {
    const closure = isolation === 'closure' ? environment.closure.paths : null;
    return [...(image === null ? sharedStoreMounts(store, directory, closure) : projectMounts(directory)), ...mounts];
  };

  /** A tree's writable layer is in the berth's own folder. */
  const layersOf = (request: BerthRequest, id: string) =>
    libraryMounts(store, request.libraries, join(options.directory, id));

  /** @returns the berth's record, of a container of the engine that waits where there is one */
  function describe(engine: Engine, request: BerthRequest, name: string): BerthRecord {
    const generation = request.ephemeral ? 1 : generations.next(name);
    const wanted: Omit<BerthSpec, 'id' | 'runDirectory'> = {
      name,
      image: request.image,
      hostname: name.replace(/[^a-z0-9-]/g, '-').slice(0, 63),
      mounts: mountsOf(request),
      limits: request.limits,
      ports: request.ports,
      network: request.network,
      command: request.command,
      labels: { 'berth.name': name, 'berth.environment': request.environment.digest },
    };
    // What waits can be given folders, but no writable layers over them.
    const reserved = request.libraries.length === 0 ? engine.reserve?.(wanted)?.id : undefined;
    const id = reserved ?? randomBytes(6).toString('hex');
    return {
      spec: {
        ...wanted,
        id,
        mounts: [...wanted.mounts, ...layersOf(request, id)],
        runDirectory: join(options.directory, id, 'run'),
      },
      engine: engine.name,
      path: request.path,
      directory: request.directory,
      environmentDigest: request.environment.digest,
      drvPath: request.evaluated.drvPath,
      createdAt: new Date().toISOString(),
      ephemeral: request.ephemeral,
      generation,
      startedWith: generation,
      request: request.asked,
    };
  }

  function contentOf({ environment, variables, command }: BerthRequest): BerthContent {
    const { shellHook, functions, fhs } = environment;
    const all = { ...options.variables, ...environment.variables, ...variables };
    return { variables: all, shellHook, functions, fhs, command };
  }

  function writeContent(record: BerthRecord, request: BerthRequest): void {
    options.folders.write(record.spec.runDirectory, contentOf(request), record.generation);
  }

  function generationOf(record: BerthRecord, request: BerthRequest, before: Generation | undefined): Generation {
    const { environment, evaluated, configDigest, origin, of } = request;
    return {
      number: record.generation,
      at: new Date().toISOString(),
      origin,
      ...(of === undefined ? {} : { of }),
      environmentDigest: environment.digest,
      configDigest,
      evaluated,
      difference: before
        ? differenceOf(
            { packages: before.evaluated.packages, variables: options.environmentOf(before.evaluated)?.variables },
            { packages: evaluated.packages, variables: environment.variables },
          )
        : null,
    };
  }

  async function launch(
    engine: Engine,
    request: BerthRequest,
    name: string,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<BerthRecord> {
    const record = describe(engine, request, name);
    const { id } = record.spec;
    try {
      writeContent(record, request);
      makeWritableLayers(record.spec.mounts);
      // Recorded before it is started: whatever happens then, the berth is known and can be removed.
      if (request.ephemeral) {
        ephemeral.set(id, record);
        firsts.set(id, generationOf(record, request, undefined));
      } else records.save(record, () => generations.save(name, generationOf(record, request, generations.of(name)[0])));
      await engine.launch(record.spec, context.signal);
    } catch (error) {
      await engine.remove(id);
      if (!record.ephemeral) generations.delete(name, record.generation);
      forget(record);
      throw error;
    }
    context.emit({ type: 'berth.state', id, name, state: 'running' });
    return record;
  }

  function forget(record: BerthRecord): void {
    ephemeral.delete(record.spec.id);
    firsts.delete(record.spec.id);
    if (!record.ephemeral) records.delete(record.spec.id);
    rmSync(join(options.directory, record.spec.id), { recursive: true, force: true });
  }

  /**
   * Makes the berth anew where it can't become what is asked for: other mounts, ports, network, command, engine or image.
   * Where that fails, the old one is started again.
   */
  async function relaunch(
    engine: Engine,
    known: BerthRecord,
    request: BerthRequest,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<Upped> {
    await engine.remove(known.spec.id);
    records.delete(known.spec.id);
    let record: BerthRecord;
    try {
      record = await launch(engine, request, known.spec.name, context);
    } catch (error) {
      records.save(known);
      if (known.engine === engine.name) {
        await engine.launch(known.spec).catch((again: unknown) => {
          const why = asBerthError(again).message;
          context.emit({ type: 'warning', message: `${known.spec.name} could not be started again as it was: ${why}` });
        });
      }
      throw error;
    }
    const dropped = changedLayers(known.spec.mounts);
    rmSync(join(options.directory, known.spec.id), { recursive: true, force: true });
    if (dropped.length > 0) {
      context.emit({
        type: 'warning',
        message: `What was installed by hand in ${dropped.join(' and ')} went with the old container of ${record.spec.name}.`,
      });
    }
    generations.trim(record.spec.name, options.keep, record.startedWith);
    const difference = generations.of(record.spec.name)[0]?.difference ?? null;
    if (known.environmentDigest === record.environmentDigest) return { record, switched: null };
    return told(
      { record, switched: { from: known.generation, to: record.generation, difference, replaced: true } },
      context.emit,
    );
  }

  /** Gives a berth another environment; running processes keep what they have. */
  async function refit(
    engine: Engine,
    known: BerthRecord,
    request: BerthRequest,
    state: BerthState,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<Upped> {
    const mounts = [...mountsOf(request), ...layersOf(request, known.spec.id)].map((mount) =>
      withEarlierPaths(mount, known.spec.mounts),
    );
    const fits =
      JSON.stringify([
        known.spec.image,
        known.spec.mounts.map(wherever),
        known.spec.ports,
        known.spec.network,
        known.spec.command,
      ]) === JSON.stringify([request.image, mounts.map(wherever), request.ports, request.network, request.command]);
    if (!fits || known.engine !== engine.name) return relaunch(engine, known, request, context);

    const running = state.state === 'running';
    const hasIt = known.environmentDigest === request.environment.digest;
    const closure = mounts.find((mount) => mount.only);
    // Of a berth with only its closure: the new paths must be there before anything leads to them.
    if (running && !hasIt && closure && !(await isAttached(engine, known, closure))) {
      return relaunch(engine, known, request, context);
    }
    const generation = hasIt ? known.generation : Math.max(generations.next(known.spec.name), known.generation + 1);
    const record: BerthRecord = {
      ...known,
      spec: { ...known.spec, mounts, limits: request.limits },
      environmentDigest: request.environment.digest,
      drvPath: request.evaluated.drvPath,
      generation,
      startedWith: running ? known.startedWith : generation,
      request: request.asked,
    };
    let switched: Switched | null = null;
    if (!hasIt) {
      const before = firsts.get(known.spec.id);
      if (before) {
        generations.save(known.spec.name, before);
        firsts.delete(known.spec.id);
      }
      const next = generationOf(record, request, generations.of(known.spec.name)[0]);
      switched = await switchBerth({ ...options, records }, known, record, next, contentOf(request), running);
    } else if (JSON.stringify(known) !== JSON.stringify(record)) records.save(record);

    if (!running) {
      if (hasIt) writeContent(record, request);
      await engine.start(record.spec, context.signal);
    } else if (JSON.stringify(known.spec.limits) !== JSON.stringify(request.limits)) {
      await engine.setLimits(record.spec.id, request.limits);
    }
    context.emit({ type: 'berth.state', id: record.spec.id, name: record.spec.name, state: 'running' });
    return told({ record, switched }, context.emit);
  }

  function told(upped: Upped, emit: Emit): Upped {
    const { record, switched } = upped;
    if (!switched) return upped;
    const { from, to, difference } = switched;
    const names = (packages: readonly { readonly name: string }[] = []) => packages.map(({ name }) => name);
    emit({
      ...{ type: 'berth.switched', id: record.spec.id, name: record.spec.name, from, to },
      added: names(difference?.added),
      removed: names(difference?.removed),
    });
    return upped;
  }

  return {
    async up(engine, request, context) {
      const launched = async (name: string) => ({
        record: await launch(engine, request, name, context),
        switched: null,
      });
      if (request.ephemeral) return launched(`run-${randomBytes(4).toString('hex')}`);
      const name =
        request.name === undefined
          ? nameFor(request.directory, (taken) => records.find(taken)?.directory)
          : checkName(request.name);
      return mutex.run(name, async () => {
        const known = records.find(name);
        if (known === undefined) {
          // What an earlier berth of this name had is not this one's.
          generations.deleteAll(name);
          return launched(name);
        }
        if (known.directory !== request.directory) {
          throw new BerthError('NAME_TAKEN', `The berth ${name} belongs to ${known.directory}.`);
        }
        return refit(engine, known, request, await engine.inspect(known.spec.id), context);
      });
    },
    async refit(engine, record, request, context) {
      return mutex.run(record.spec.name, async () => {
        // As it is now: it may have been removed or switched meanwhile.
        const known = find(record.spec.id);
        if (!known) throw new BerthError('BERTH_UNKNOWN', `There is no berth \`${record.spec.name}\` any more.`);
        return refit(engine, known, request, await engine.inspect(known.spec.id), context);
      });
    },
    find(nameOrId) {
      const record = find(nameOrId);
      if (record === undefined) throw new BerthError('BERTH_UNKNOWN', `There is no berth \`${nameOrId}\`.`);
      return record;
    },
    all: () => [...records.all(), ...ephemeral.values()],
    async start(engine, record, context) {
      await mutex.run(record.spec.name, async () => {
        if ((await engine.inspect(record.spec.id)).state === 'running') return;
        await engine.start(record.spec, context.signal);
        // Nothing runs any more that could have an earlier one.
        if (record.startedWith !== record.generation) records.save({ ...record, startedWith: record.generation });
        context.emit({ type: 'berth.state', id: record.spec.id, name: record.spec.name, state: 'running' });
      });
    },
    stop: (engine, record, graceMs) => mutex.run(record.spec.name, () => engine.stop(record.spec.id, graceMs)),
    async remove(engine, record) {
      await mutex.run(record.spec.name, async () => {
        await engine.remove(record.spec.id);
        // One that never got another environment has none recorded.
        if (!firsts.has(record.spec.id)) generations.deleteAll(record.spec.name);
        forget(record);
      });
    },
    async recover(engines, emit) {
      // Asked anew for each, since berths are made while this goes on.
      const isKnown = (id: string) =>
        ephemeral.has(id) ||
        records.find(id) !== undefined ||
        engines.some((engine) => engine.pool?.().ids.includes(id));
      await Promise.all(
        engines.map(async (engine) => {
          const own = records.all().filter((record) => record.engine === engine.name);
          try {
            if (own.length === 0 && !(await engine.available()).available) return;
            for (const id of await engine.list()) {
              if (!isKnown(id)) await engine.remove(id);
            }
            for (const record of own) {
              finishSwitch(record);
              await engine.adopt(record.spec);
            }
          } catch (error) {
            // An engine that is away now must not keep the daemon from serving the others.
            const why = asBerthError(error).message;
            emit({ type: 'warning', message: `Engine ${engine.name} could not be taken over: ${why}` });
          }
        }),
      );
      for (const name of generations.berths()) if (find(name) === undefined) generations.deleteAll(name);
      for (const name of readdirIfThere(options.directory)) {
        if (!isKnown(name)) rmSync(join(options.directory, name), { recursive: true, force: true });
      }
    },
  };
}

/** @returns the mount without which entries it shows: those change while a berth runs */
function wherever({ source, target, readOnly, only }: Mount) {
  return { source, target, readOnly, some: only !== undefined };
}

/** What the berth had stays: its processes may still open it, and it may be led back. */
function withEarlierPaths(mount: Mount, earlier: readonly Mount[]): Mount {
  if (!mount.only) return mount;
  const had = earlier.find(({ target }) => target === mount.target)?.only ?? [];
  return { ...mount, only: [...new Set([...mount.only, ...had])].sort() };
}

/** @returns false where the engine can't attach to what runs */
async function isAttached(engine: Engine, { spec }: BerthRecord, closure: Mount): Promise<boolean> {
  try {
    await engine.attach?.(spec.id, closure);
    return engine.attach !== undefined;
  } catch (error) {
    if (error instanceof BerthError && error.code === 'POOL_UNAVAILABLE') return false;
    throw error;
  }
}

function readdirIfThere(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
