/** The builder: flights over lanes of slots, with leases and records so that no build is done twice or lost. */
import { randomBytes } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import type Database from 'libsql';
import { sleep } from '../core/clock.ts';
import { asBerthError, BerthError, type ErrorReport } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import { buildFiles, followEvents, followLog, openEvents, removeBuildFiles, type EventWriter } from './build-files.ts';
import { createBuildRecords, type BuildRecord } from './build-records.ts';
import {
  isPassing,
  type Builder,
  type BuildState,
  type BuildSummary,
  type Caller,
  type Job,
  type JobContext,
  type WorkerContext,
} from './builder.ts';
import { createFlight, type Flight } from './flight.ts';
import { createLane, type Applicant, type Lane, type Slot } from './lane.ts';
import { createLeases, heartbeatMs, immediately, type Lease } from './leases.ts';
import { newOwner } from './owner.ts';
import { buildBrake, pausedUntil, throttled, type BrakePolicy } from './storm-brake.ts';
import type { Worker } from './worker.ts';

export interface BuilderOptions {
  readonly database: Database.Database;
  /** At least one. */
  readonly workers: readonly Worker[];
  /** Holds the builds' logs and events. */
  readonly directory: string;
  /** @returns where events of a build go that nobody waits for */
  readonly emitter: (subject: string) => Emit;
  /** Slots of kinds that need no worker. Default: as many as workers. */
  readonly slots?: Readonly<Record<string, number>>;
  /** Milliseconds that one try may take. Default 1 h. */
  readonly timeoutMs?: number;
  readonly brake?: BrakePolicy;
  /** How often work is tried that fails by the system's fault. Default 3. */
  readonly attempts?: number;
  /** Before the second try; it doubles. Default 500 ms. */
  readonly backoffMs?: number;
  readonly now?: () => number;
  /** A lease's life and how often it is renewed. Default 20 s and 5 s. */
  readonly leaseMs?: number;
  readonly heartbeatMs?: number;
}

/** How many builds are remembered after they ended. */
const keptBuilds = 1000;

/** A build of this daemon's that has not ended. */
interface Active {
  readonly id: string;
  readonly job: Job<unknown>;
  readonly applicant: Applicant;
  readonly lane: Lane;
  readonly flight: Flight<unknown>;
  /** Resolves when nothing of it runs any more. */
  readonly settled: Promise<void>;
  lease: Lease | undefined;
  record: BuildRecord;
  /** The daemon leaves, and the next one takes it up. */
  suspended: boolean;
}

export function createBuilder(options: BuilderOptions): Builder {
  const { database, workers, directory, now = Date.now } = options;
  const owner = newOwner();
  const leases = createLeases(database, { now, ...(options.leaseMs ? { durationMs: options.leaseMs } : {}) });
  const records = createBuildRecords(database);
  for (const id of records.trim(keptBuilds)) removeBuildFiles(buildFiles(directory, id));
  const workerLane = createLane(workers.length);
  const lanes = new Map<string, Lane>();
  // By the key: those that may be joined. By the id: all that have not settled.
  const joinable = new Map<string, Active>();
  const active = new Map<string, Active>();
  const makers = new Map<string, (kept: unknown) => Job<unknown> | undefined>();
  let closed = false;

  const heartbeat = setInterval(() => {
    const held = [...active.values()].filter((it) => it.lease !== undefined);
    if (held.length === 0) return;
    const lost = new Set(leases.renew(held.flatMap((it) => it.lease ?? [])).map(({ buildId }) => buildId));
    for (const it of held) {
      if (lost.has(it.id)) it.flight.abort(new BerthError('WORKER_DIED', 'Another daemon has taken the build over.'));
    }
  }, options.heartbeatMs ?? heartbeatMs);
  heartbeat.unref();

  function laneOf(job: Job<unknown>): Lane {
    if (job.worker) return workerLane;
    const lane = lanes.get(job.kind) ?? createLane(options.slots?.[job.kind] ?? workers.length);
    lanes.set(job.kind, lane);
    return lane;
  }

  const keyOf = (job: Job<unknown>) => `${job.kind} ${job.key}`;

  /** @throws BerthError BUILD_THROTTLED */
  function brake(job: Job<unknown>): void {
    if (job.force || job.recorded === false) return;
    const failures = records.failuresOf(keyOf(job));
    const until = pausedUntil(failures.at, now(), options.brake ?? buildBrake);
    if (until !== undefined)
      throw throttled(`The build of ${job.title}`, failures.at.length, until, now(), failures.last);
  }

  function start(job: Job<unknown>, earlier?: BuildRecord): Active {
    const id = earlier?.id ?? randomBytes(6).toString('hex');
    const key = keyOf(job);
    const before = [...active.values()].filter((it) => keyOf(it.job) === key).map((it) => it.settled);
    const recorded = job.recorded !== false;
    let writer: EventWriter | undefined;
    const flight = createFlight<unknown>({
      outside: options.emitter(`build:${id}`),
      held: earlier !== undefined,
      record: (event) => writer?.append(event, now()),
      work: async () => {
        try {
          await Promise.all(before);
          if (recorded) {
            const elsewhere = await lease(it);
            if (elsewhere) return elsewhere.value;
            const made = job.done?.();
            if (made !== undefined) return made;
            writer = openEvents(buildFiles(directory, id).events);
            records.save(it.record);
          }
          return await finishing(it, () => attempts(it));
        } finally {
          release(it);
          writer?.close();
          if (joinable.get(key) === it) joinable.delete(key);
          active.delete(id);
        }
      },
    });
    const it: Active = {
      id,
      job,
      flight,
      lane: laneOf(job),
      applicant: {
        tenant: job.tenant ?? 'local',
        priority: job.priority ?? 'normal',
        onPosition: (position) => flight.emit({ type: 'build.queued', build: id, title: job.title, position }),
      },
      settled: flight.settled,
      lease: undefined,
      record: earlier ?? newRecord(id, key, job),
      suspended: false,
    };
    joinable.set(key, it);
    active.set(id, it);
    // One that nobody waits for is being ended: who comes now starts another.
    flight.signal.addEventListener('abort', () => joinable.get(key) === it && joinable.delete(key), { once: true });
    return it;
  }

  function newRecord(id: string, key: string, job: Job<unknown>): BuildRecord {
    return {
      ...{
        id,
        key,
        kind: job.kind,
        title: job.title,
        tenant: job.tenant ?? 'local',
        priority: job.priority ?? 'normal',
      },
      ...{ state: 'queued', attempts: 0, resume: job.resume ?? null, result: null, error: null },
      ...{ createdAt: now(), startedAt: null, finishedAt: null },
    };
  }

  function save(it: Active, change: Partial<BuildRecord>): void {
    it.record = { ...it.record, ...change };
    if (it.job.recorded !== false) records.save(it.record);
  }

  /**
   * Takes the lease of the build's key; where another daemon has it, waits for what that one makes.
   * @returns what another has made, or undefined when the lease is had
   */
  async function lease(it: Active): Promise<{ readonly value: unknown } | undefined> {
    for (;;) {
      const had = leases.acquire({ key: it.record.key, buildId: it.id, owner });
      if (had.buildId === it.id) {
        it.lease = had;
        for (const left of records.activeOf(had.key)) if (!active.has(left.id)) abandon(left);
        return undefined;
      }
      const isActive = () => leases.of(had.key)?.buildId === had.buildId;
      const files = buildFiles(directory, had.buildId);
      for await (const { event } of followEvents(files.events, 0, { isActive, signal: it.flight.signal })) {
        it.flight.emit(event);
      }
      if (it.flight.signal.aborted) throw it.flight.signal.reason;
      const other = records.find(had.buildId);
      if (other?.state === 'succeeded') return { value: other.result };
      if (other?.state === 'failed' && other.error) throw BerthError.fromReport(other.error);
      // Its daemon was killed, or it was cancelled there: done here.
    }
  }

  /** Says of a build whose daemon was killed that it has ended; another is made instead, or none can be. */
  function abandon(record: BuildRecord): void {
    const error = new BerthError('CANCELLED', 'The daemon was killed during the build.').report();
    records.save({ ...record, state: 'cancelled', error, finishedAt: now() });
  }

  function release(it: Active): void {
    if (it.lease) leases.release(it.lease);
    it.lease = undefined;
  }

  /** Runs the work and writes down how it ended, before anybody is told. */
  async function finishing(it: Active, work: () => Promise<unknown>): Promise<unknown> {
    const end = (state: BuildState, result: unknown, error: ErrorReport | null) => {
      const ended = () => {
        save(it, { state, result: result ?? null, error, finishedAt: now() });
        release(it);
      };
      if (it.job.recorded !== false) immediately(database, ended);
      if (it.job.recorded === false) return;
      it.flight.emit({
        type: 'build.finished',
        build: it.id,
        kind: it.job.kind,
        outcome: state === 'succeeded' || state === 'cancelled' ? state : 'failed',
        ms: now() - it.record.createdAt,
        ...(error ? { error } : {}),
      });
    };
    try {
      const value = await work();
      end('succeeded', value, null);
      return value;
    } catch (error) {
      const known = asBerthError(error);
      if (!it.suspended) end(known.code === 'CANCELLED' ? 'cancelled' : 'failed', null, known.report());
      throw known;
    }
  }

  /** Tries the work until it succeeds or fails by a fault that stays. */
  async function attempts(it: Active): Promise<unknown> {
    const { signal } = it.flight;
    const most = options.attempts ?? 3;
    for (let attempt = 1; ; attempt += 1) {
      const asked = now();
      const slot = await it.lane.claim(it.applicant, signal);
      let failed: BerthError;
      try {
        save(it, { state: 'running', attempts: it.record.attempts + 1, startedAt: it.record.startedAt ?? now() });
        const worker = it.job.worker ? workers[slot.number - 1] : undefined;
        if (it.job.recorded !== false) {
          it.flight.emit({
            type: 'build.started',
            ...{ build: it.id, kind: it.job.kind, attempt, waitedMs: now() - asked },
            ...(worker ? { worker: worker.number, isolation: worker.isolation } : {}),
          });
        }
        return await attemptOnce(it, attempt, slot);
      } catch (error) {
        failed = asBerthError(error);
        if (signal.aborted) throw signal.reason;
        if (attempt >= most || !isPassing(failed)) throw failed;
      } finally {
        slot.release();
      }
      const afterMs = (options.backoffMs ?? 500) * 2 ** (attempt - 1);
      it.flight.emit({ type: 'build.retried', build: it.id, attempt, afterMs, error: failed.report() });
      await sleep(afterMs, signal);
    }
  }

  async function attemptOnce(it: Active, attempt: number, slot: Slot): Promise<unknown> {
    const { job, flight } = it;
    const limitMs = job.timeoutMs ?? options.timeoutMs ?? 3_600_000;
    const late = new AbortController();
    const timer = setTimeout(
      () =>
        late.abort(new BerthError('BUILD_TIMEOUT', `The build of ${job.title} took longer than ${limitMs / 1000} s.`)),
      limitMs,
    );
    const { log: logFile } = buildFiles(directory, it.id);
    const context: JobContext = {
      buildId: it.id,
      emit: flight.emit,
      signal: AbortSignal.any([flight.signal, late.signal]),
      attempt,
      logFile,
      log(line) {
        appendFileSync(logFile, `${line}\n`);
        flight.emit({ type: 'log', phase: 'build', line });
      },
    };
    try {
      const worker = workers[slot.number - 1];
      return await (job.worker ? job.run({ ...context, worker } as WorkerContext) : job.run(context));
    } catch (error) {
      if (late.signal.aborted && !flight.signal.aborted) throw late.signal.reason;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  function summarise(record: BuildRecord): BuildSummary {
    const mine = active.get(record.id);
    const time = (at: number | null) => (at === null ? null : new Date(at).toISOString());
    const { id, kind, title, tenant, state, attempts, error } = record;
    return {
      ...{ id, key: record.key.slice(kind.length + 1), kind, title, tenant, state, attempts, error },
      priority: mine?.applicant.priority ?? record.priority,
      position: (mine && mine.lane.positionOf(mine.applicant)) ?? null,
      callers: mine?.flight.callers ?? 0,
      createdAt: new Date(record.createdAt).toISOString(),
      startedAt: time(record.startedAt),
      finishedAt: time(record.finishedAt),
    };
  }

  function find(id: string): BuildRecord {
    const record = records.find(id);
    if (!record) throw new BerthError('BUILD_UNKNOWN', `There is no build \`${id}\`.`, { details: { id } });
    return record;
  }

  /** Whether it goes on, here or in another daemon. */
  function goesOn(id: string): boolean {
    if (active.has(id)) return true;
    const record = records.find(id);
    return (record?.state === 'queued' || record?.state === 'running') && leases.of(record.key)?.buildId === id;
  }

  return {
    async submit<Result>(job: Job<Result>, caller: Caller) {
      if (closed) throw new BerthError('CANCELLED', 'The builder is closed.');
      caller.signal?.throwIfAborted();
      const under = joinable.get(keyOf(job));
      if (under) {
        under.lane.raise(under.applicant, job.priority ?? 'normal');
        return { value: (await under.flight.wait(caller)) as Result, buildId: under.id, joined: true };
      }
      const made = job.done?.();
      if (made !== undefined) return { value: made, buildId: null, joined: true };
      brake(job);
      const it = start(job);
      return { value: (await it.flight.wait(caller)) as Result, buildId: it.id, joined: false };
    },
    list: ({ active: only = false, limit = 100 } = {}) => records.list({ active: only, limit }).map(summarise),
    get: (id) => summarise(find(id)),
    events(id, { after = 0, signal } = {}) {
      find(id);
      const follow = { isActive: () => goesOn(id), ...(signal ? { signal } : {}) };
      return followEvents(buildFiles(directory, id).events, after, follow);
    },
    log(id, { follow, signal }) {
      find(id);
      const isActive = () => follow && goesOn(id);
      return followLog(buildFiles(directory, id).log, { isActive, ...(signal ? { signal } : {}) });
    },
    cancel(id) {
      find(id);
      active.get(id)?.flight.abort(new BerthError('CANCELLED', `The build ${id} was cancelled.`));
    },
    resumable: (kind, make) => void makers.set(kind, make),
    takeUp() {
      const taken: string[] = [];
      for (const record of records.list({ active: true, limit: keptBuilds }).reverse()) {
        if (active.has(record.id) || leases.of(record.key)) continue;
        const job = record.resume === null ? undefined : makers.get(record.kind)?.(record.resume);
        if (!job || joinable.has(record.key)) {
          abandon(record);
          continue;
        }
        start(job, { ...record, state: 'queued' });
        taken.push(record.id);
      }
      return taken;
    },
    statistics: () => ({
      workers: workers.length,
      busyWorkers: workerLane.busy,
      queued: [workerLane, ...lanes.values()].reduce((sum, lane) => sum + lane.queued, 0),
      running: [workerLane, ...lanes.values()].reduce((sum, lane) => sum + lane.busy, 0),
    }),
    async close() {
      closed = true;
      clearInterval(heartbeat);
      const open = [...active.values()];
      for (const it of open) {
        it.suspended = true;
        it.flight.abort(new BerthError('CANCELLED', 'The daemon leaves.'));
      }
      await Promise.all(open.map((it) => it.settled));
    },
  };
}
