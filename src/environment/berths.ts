/** Berths: containers with their environments, their records, and what may be done with them. */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { asBerthError, BerthError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import { isErrno } from '../core/files.ts';
import { KeyedMutex } from '../core/keyed-mutex.ts';
import type { BerthSpec, BerthState, Engine, Limits, Mount } from '../engine/engine.ts';
import { agentSocket } from '../engine/run-directory.ts';
import { sharedStoreMounts, writeBerthContent } from '../materialise/shared-store.ts';
import type { Store } from '../nix/store.ts';
import { checkName, nameFor } from './berth-name.ts';
import type { BerthRecord, BerthRecords } from './berth-records.ts';
import type { Environment } from './environment.ts';
import type { PublishedPort } from './service.ts';

/** What a berth is made from. */
export interface BerthRequest {
  readonly name: string | undefined;
  readonly path: string;
  readonly directory: string;
  readonly environment: Environment;
  readonly drvPath: string;
  readonly limits: Limits;
  readonly network: BerthSpec['network'];
  readonly ports: readonly PublishedPort[];
  /** Besides the store and the project. */
  readonly mounts: readonly Mount[];
  /** Besides the environment's own, and stronger. */
  readonly variables: Readonly<Record<string, string>>;
  readonly command: readonly string[] | null;
  readonly ephemeral: boolean;
}

export interface BerthsOptions {
  readonly records: BerthRecords;
  readonly store: Store;
  /** Holds a folder for each berth. */
  readonly directory: string;
  /** Tells the agent that its FHS link was switched. */
  readonly refreshAgent: (agentSocket: string) => Promise<void>;
}

export interface Berths {
  /** Makes the berth of the request, or gives the running one of that name the request's environment. */
  up(engine: Engine, request: BerthRequest, context: { emit: Emit; signal?: AbortSignal }): Promise<BerthRecord>;
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
  const { records, store } = options;
  // Ephemeral berths end with their command, so they are not worth a write to the disk: what a crash leaves of them the
  // engine lists and the daemon removes when it starts.
  const ephemeral = new Map<string, BerthRecord>();
  const mutex = new KeyedMutex<string>();

  const find = (nameOrId: string) =>
    ephemeral.get(nameOrId) ??
    records.find(nameOrId) ??
    [...ephemeral.values()].find((record) => record.spec.name === nameOrId);

  function describe(request: BerthRequest, id: string, name: string): BerthRecord {
    const spec: BerthSpec = {
      id,
      name,
      image: null,
      runDirectory: join(options.directory, id, 'run'),
      hostname: name.replace(/[^a-z0-9-]/g, '-').slice(0, 63),
      mounts: [...sharedStoreMounts(store, request.directory), ...request.mounts],
      limits: request.limits,
      ports: request.ports,
      network: request.network,
      command: request.command,
      labels: { 'berth.name': name, 'berth.environment': request.environment.digest },
    };
    return {
      spec,
      engine: 'embedded',
      path: request.path,
      directory: request.directory,
      environmentDigest: request.environment.digest,
      drvPath: request.drvPath,
      createdAt: new Date().toISOString(),
      ephemeral: request.ephemeral,
    };
  }

  function writeContent(record: BerthRecord, request: BerthRequest): void {
    const { environment } = request;
    writeBerthContent(record.spec.runDirectory, {
      variables: { ...environment.variables, ...request.variables },
      shellHook: environment.shellHook,
      functions: environment.functions,
      fhs: environment.fhs,
      command: request.command,
    });
  }

  async function launch(
    engine: Engine,
    request: BerthRequest,
    name: string,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<BerthRecord> {
    const id = randomBytes(6).toString('hex');
    const record = { ...describe(request, id, name), engine: engine.name };
    writeContent(record, request);
    // Recorded before it is started: whatever happens then, the berth is known and can be removed.
    if (request.ephemeral) ephemeral.set(id, record);
    else records.save(record);
    try {
      await engine.launch(record.spec, context.signal);
    } catch (error) {
      await engine.remove(id);
      forget(record);
      throw error;
    }
    context.emit({ type: 'berth.state', id, name, state: 'running' });
    return record;
  }

  function forget(record: BerthRecord): void {
    ephemeral.delete(record.spec.id);
    if (!record.ephemeral) records.delete(record.spec.id);
    rmSync(join(options.directory, record.spec.id), { recursive: true, force: true });
  }

  /** Gives a berth another environment; running processes keep what they have. */
  async function refit(
    engine: Engine,
    known: BerthRecord,
    request: BerthRequest,
    state: BerthState,
    context: { emit: Emit; signal?: AbortSignal },
  ): Promise<BerthRecord> {
    const sameEnvironment = known.environmentDigest === request.environment.digest;
    const fits =
      JSON.stringify([known.spec.mounts, known.spec.ports, known.spec.network, known.spec.command]) ===
      JSON.stringify([
        [...sharedStoreMounts(store, request.directory), ...request.mounts],
        request.ports,
        request.network,
        request.command,
      ]);
    if (!fits || known.engine !== engine.name) {
      await engine.remove(known.spec.id);
      forget(known);
      return launch(engine, request, known.spec.name, context);
    }
    const record: BerthRecord = {
      ...known,
      spec: { ...known.spec, limits: request.limits },
      environmentDigest: request.environment.digest,
      drvPath: request.drvPath,
    };
    if (!sameEnvironment || state.state !== 'running') writeContent(record, request);
    if (state.state !== 'running') {
      await engine.start(record.spec, context.signal);
    } else {
      if (!sameEnvironment) await options.refreshAgent(agentSocket(record.spec.runDirectory));
      if (JSON.stringify(known.spec.limits) !== JSON.stringify(request.limits)) {
        await engine.setLimits(record.spec.id, request.limits);
      }
    }
    if (JSON.stringify(known) !== JSON.stringify(record)) records.save(record);
    context.emit({ type: 'berth.state', id: record.spec.id, name: record.spec.name, state: 'running' });
    return record;
  }

  return {
    async up(engine, request, context) {
      if (request.ephemeral) return launch(engine, request, `run-${randomBytes(4).toString('hex')}`, context);
      const name =
        request.name === undefined
          ? nameFor(request.directory, (taken) => records.find(taken)?.directory)
          : checkName(request.name);
      return mutex.run(name, async () => {
        const known = records.find(name);
        if (known === undefined) return launch(engine, request, name, context);
        if (known.directory !== request.directory) {
          throw new BerthError('NAME_TAKEN', `The berth ${name} belongs to ${known.directory}.`);
        }
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
        context.emit({ type: 'berth.state', id: record.spec.id, name: record.spec.name, state: 'running' });
      });
    },
    stop: (engine, record, graceMs) => mutex.run(record.spec.name, () => engine.stop(record.spec.id, graceMs)),
    async remove(engine, record) {
      await mutex.run(record.spec.name, async () => {
        await engine.remove(record.spec.id);
        forget(record);
      });
    },
    async recover(engines, emit) {
      // Asked anew for each, since berths are made while this goes on.
      const isKnown = (id: string) => ephemeral.has(id) || records.find(id) !== undefined;
      await Promise.all(
        engines.map(async (engine) => {
          const own = records.all().filter((record) => record.engine === engine.name);
          try {
            if (own.length === 0 && !(await engine.available()).available) return;
            for (const id of await engine.list()) {
              if (!isKnown(id)) await engine.remove(id);
            }
            for (const record of own) await engine.adopt(record.spec);
          } catch (error) {
            // An engine that is away now must not keep the daemon from serving the others.
            const why = asBerthError(error).message;
            emit({ type: 'warning', message: `Engine ${engine.name} could not be taken over: ${why}` });
          }
        }),
      );
      for (const name of readdirIfThere(options.directory)) {
        if (!isKnown(name)) rmSync(join(options.directory, name), { recursive: true, force: true });
      }
    },
  };
}

function readdirIfThere(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
