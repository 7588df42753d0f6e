/**
 * An engine behind a pool: started containers without an environment wait, and a launch takes one and gives it what a berth
 * has. The engine is otherwise as it was; where it can't bind late, each launch is a launch. A container that was taken
 * never comes back.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { stopwatch } from '../../core/clock.ts';
import type { Digest } from '../../core/digest.ts';
import { asBerthError, BerthError } from '../../core/errors.ts';
import type { Emit } from '../../core/events.ts';
import type { BerthSpec, Engine, Isolation, LateBinding, Limits, Mount, PoolStatus } from '../engine.ts';
import { isSameMount, viewOf } from './bind-mounts.ts';
import { createDemand, type Demand } from './demand.ts';
import { createWaitingMarks, type WaitingMarks } from './waiting-marks.ts';

export interface PoolOptions {
  /** Containers that wait at least, of the usual class and from the start on. */
  readonly min: number;
  /** Containers that wait at most, of each class. 0: there is no pool. */
  readonly max: number;
  /** Share of launches that are to find one waiting. */
  readonly targetHitRate: number;
  /** Milliseconds without a launch after which only `min` wait. */
  readonly idleMs: number;
  /** Of the containers that wait; a berth's others are set when it takes one. */
  readonly limits: Limits;
  /** What all berths have mounted whose isolation is `whole`: the store. */
  readonly shared: readonly Mount[];
  /** The class that `min` is of. */
  readonly usual: { readonly network: BerthSpec['network']; readonly isolation: Isolation };
  /** Holds a folder ID/run for each berth. */
  readonly berthsDirectory: string;
  /** Remembers which containers wait. */
  readonly directory: string;
  readonly emit: Emit;
  /** Writes the run directories of containers that wait. */
  readonly folders: {
    prepare(runDirectory: string): void;
    forget(runDirectory: string): void;
  };
  /** How long after a launch another is made to wait. Default 50 ms: not beside the command that was launched for. */
  readonly refillDelayMs?: number;
  /** How many are made at once while nothing is launched. Default: one for each processor. */
  readonly refillsAtOnce?: number;
}

interface Waiting {
  readonly spec: BerthSpec;
  readonly class: Class;
  /** The FHS view whose /etc it shows; undefined where it sees none. */
  readonly shown: string | undefined;
}

interface Class {
  readonly network: BerthSpec['network'];
  readonly isolation: Isolation;
  readonly demand: Demand;
  readonly waiting: Waiting[];
  /** How many are being made. */
  making: number;
}

/** Launches that follow each other put making others off, but not for longer than this. */
const longestDelayMs = 500;
/** After a failure it is tried again, each time later. */
const firstRetryMs = 1000;
const longestRetryMs = 60_000;
/** Supposed until one was made. */
const supposedRefillMs = 500;

/** @returns the engine itself where it can't bind late, or no pool is wanted */
export function createPooledEngine(engine: Engine, options: PoolOptions): Engine {
  return engine.lateBinding && options.max > 0 ? new PooledEngine(engine, engine.lateBinding, options) : engine;
}

class PooledEngine implements Engine {
  readonly name: Engine['name'];
  readonly sees?: NonNullable<Engine['sees']>;
  readonly imageUsage?: NonNullable<Engine['imageUsage']>;
  readonly #engine: Engine;
  readonly #binding: LateBinding;
  readonly #options: PoolOptions;
  readonly #marks: WaitingMarks;
  readonly #classes = new Map<string, Class>();
  /** Ids of containers that are being made to wait. */
  readonly #starting = new Set<string>();
  readonly #reserved = new Map<string, Waiting>();
  readonly #making = new Set<Promise<void>>();
  #recovered: Promise<void> | undefined;
  #availability: Promise<{ available: boolean; reason: string }> | undefined;
  #known: { available: boolean; reason: string } = { available: true, reason: 'not needed yet' };
  #hits = 0;
  #misses = 0;
  #refillMs = supposedRefillMs;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  /** When the first launch was that the pool has not looked at since. */
  #askedSince: number | undefined;
  #closed = false;

  constructor(engine: Engine, binding: LateBinding, options: PoolOptions) {
    this.name = engine.name;
    // Whether they are there says something.
    if (engine.sees) this.sees = engine.sees.bind(engine);
    if (engine.imageUsage) this.imageUsage = engine.imageUsage.bind(engine);
    this.#engine = engine;
    this.#binding = binding;
    this.#options = options;
    this.#marks = createWaitingMarks(options.directory);
    if (options.min > 0) {
      this.#class(options.usual.network, options.usual.isolation);
      this.#lookIn(0);
    }
  }

  available(signal?: AbortSignal): ReturnType<Engine['available']> {
    return this.#engine.available(signal);
  }

  reserve(spec: Omit<BerthSpec, 'id' | 'runDirectory'>): { readonly id: string } | undefined {
    if (this.#closed || spec.image !== null) return undefined;
    const known = this.#class(spec.network, isolationOf(spec.mounts, this.#options.shared));
    known.demand.asked();
    this.#lookAfterLaunch();
    const taken = known.waiting.shift();
    if (!taken) {
      this.#misses += 1;
      this.#emit('missed', this.#known.available ? 'none waits' : this.#known.reason);
      return undefined;
    }
    this.#hits += 1;
    this.#reserved.set(taken.spec.id, taken);
    return { id: taken.spec.id };
  }

  async launch(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    const taken = this.#reserved.get(spec.id);
    if (!taken) return this.#engine.launch(spec, signal);
    this.#reserved.delete(spec.id);
    const elapsed = stopwatch();
    try {
      await this.#binding.bind(spec, taken.spec, taken.shown);
    } catch (error) {
      await this.#engine.remove(spec.id);
      this.#marks.clear(spec.id);
      const { code, message } = asBerthError(error);
      if (signal?.aborted || isOwnFault(code)) throw error;
      this.#emit('missed', message);
      return this.#engine.launch(spec, signal);
    }
    this.#marks.clear(spec.id);
    this.#options.emit({ type: 'pool.claimed', engine: this.name, id: spec.id, ms: elapsed() });
  }

  start(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    return this.#engine.start(spec, signal);
  }

  stop(id: string, graceMs: number): Promise<void> {
    return this.#engine.stop(id, graceMs);
  }

  async remove(id: string): Promise<void> {
    await this.#engine.remove(id);
    if (this.#reserved.delete(id)) this.#marks.clear(id);
  }

  inspect(id: string): ReturnType<Engine['inspect']> {
    return this.#engine.inspect(id);
  }

  /** Those that wait are the pool's, not berths. */
  async list(): Promise<string[]> {
    await this.#recover();
    const own = this.#own();
    return (await this.#engine.list()).filter((id) => !own.has(id));
  }

  async adopt(spec: BerthSpec): Promise<void> {
    await this.#recover();
    return this.#engine.adopt(spec);
  }

  setLimits(id: string, limits: Limits): Promise<void> {
    return this.#engine.setLimits(id, limits);
  }

  loadImage(...request: Parameters<Engine['loadImage']>): ReturnType<Engine['loadImage']> {
    return this.#engine.loadImage(...request);
  }

  hasImage(digest: Digest): Promise<boolean> {
    return this.#engine.hasImage(digest);
  }

  removeImage(digest: Digest): Promise<void> {
    return this.#engine.removeImage(digest);
  }

  images(): Promise<Digest[]> {
    return this.#engine.images();
  }

  imageConfig(digest: Digest): ReturnType<Engine['imageConfig']> {
    return this.#engine.imageConfig(digest);
  }

  async attach(id: string, mount: Mount): Promise<void> {
    if (!(await this.#canBind())) throw new BerthError('POOL_UNAVAILABLE', this.#known.reason);
    await this.#engine.attach?.(id, mount);
  }

  pool(): PoolStatus {
    const waiting = [...this.#classes.values()].flatMap((each) => each.waiting);
    const memory = waiting.map(({ spec }) => this.#binding.memoryOf(spec.id));
    const classes = [...this.#classes.values()].map((each) => ({
      network: each.network,
      isolation: each.isolation,
      waiting: each.waiting.length,
      target: this.#targetOf(each),
    }));
    return {
      engine: this.name,
      ...this.#known,
      ids: [...this.#own(), ...this.#reserved.keys()],
      waiting: waiting.length,
      target: classes.reduce((sum, { target }) => sum + target, 0),
      starting: this.#starting.size,
      hits: this.#hits,
      misses: this.#misses,
      memoryBytes: memory.includes(null) ? null : memory.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0),
      classes,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.allSettled(this.#making);
    const waiting = [...this.#classes.values()].flatMap((each) => each.waiting.splice(0));
    await Promise.allSettled(waiting.map((each) => this.#discard(each.spec)));
    await this.#engine.close?.();
  }

  #class(network: BerthSpec['network'], isolation: Isolation): Class {
    const key = `${network} ${isolation}`;
    const known = this.#classes.get(key);
    if (known) return known;
    const { usual, min, max, targetHitRate, idleMs } = this.#options;
    const isUsual = network === usual.network && isolation === usual.isolation;
    const made: Class = {
      network,
      isolation,
      demand: createDemand({ min: isUsual ? Math.min(min, max) : 0, max, targetHitRate, idleMs }),
      waiting: [],
      making: 0,
    };
    this.#classes.set(key, made);
    return made;
  }

  #own(): Set<string> {
    const waiting = [...this.#classes.values()].flatMap((each) => each.waiting.map(({ spec }) => spec.id));
    return new Set([...waiting, ...this.#starting]);
  }

  #targetOf(each: Class): number {
    return this.#known.available ? each.demand.target(Math.max(this.#refillMs, supposedRefillMs)) : 0;
  }

  /** Looks at the pool after so many milliseconds. */
  #lookIn(ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#resize(), ms).unref();
  }

  /** Launches that follow each other put the next look off, within bounds. */
  #lookAfterLaunch(): void {
    const now = performance.now();
    this.#askedSince ??= now;
    this.#lookIn(Math.max(0, Math.min(this.#options.refillDelayMs ?? 50, this.#askedSince + longestDelayMs - now)));
  }

  /** Makes more where too few wait, and lets go of those that are too many. */
  #resize(): void {
    const isQuiet = this.#askedSince === undefined || performance.now() - this.#askedSince < longestDelayMs - 5;
    this.#timer = undefined;
    this.#askedSince = undefined;
    if (this.#closed) return;
    for (const each of this.#classes.values()) {
      const target = this.#targetOf(each);
      const surplus = each.waiting.splice(0, Math.max(0, each.waiting.length - target));
      for (const { spec } of surplus) void this.#discard(spec).catch(() => undefined);
      if (surplus.length > 0) this.#tellSize();
      // What is made behind the launches must not slow them down: while they come, one at a time.
      const together = isQuiet ? (this.#options.refillsAtOnce ?? availableParallelism()) : 1;
      while (each.waiting.length + each.making < target && this.#making.size < together) this.#begin(each);
    }
    if (this.#making.size === 0) this.#lookIn(this.#options.idleMs);
  }

  #begin(each: Class): void {
    each.making += 1;
    const making = this.#make(each)
      .finally(() => (each.making -= 1))
      .then(
        () => {
          this.#failures = 0;
          this.#making.delete(making);
          this.#tellSize();
          if (this.#askedSince === undefined) this.#lookIn(0);
        },
        (error: unknown) => {
          this.#failures += 1;
          this.#making.delete(making);
          if (this.#failures === 1) this.#emit('unavailable', asBerthError(error).message);
          this.#lookIn(Math.min(longestRetryMs, firstRetryMs * 2 ** (this.#failures - 1)));
        },
      )
      .catch(() => undefined);
    this.#making.add(making);
  }

  async #make(each: Class): Promise<void> {
    await this.#recover();
    if (!(await this.#canBind())) return;
    const spec = this.#waitingSpec(each);
    const elapsed = stopwatch();
    this.#starting.add(spec.id);
    try {
      this.#marks.set(spec.id);
      this.#options.folders.prepare(spec.runDirectory);
      // The agent links what it sees of the view when it starts.
      const shown = each.isolation === 'whole' ? viewOf(spec.runDirectory) : undefined;
      await this.#engine.launch(spec);
      await this.#binding.inspect(spec.id);
      if (this.#closed) await this.#discard(spec);
      else each.waiting.push({ spec, class: each, shown });
      this.#refillMs += (elapsed() - this.#refillMs) / 4;
    } catch (error) {
      await this.#discard(spec);
      if (asBerthError(error).code === 'POOL_UNAVAILABLE') this.#cannot(asBerthError(error).message);
      else throw error;
    } finally {
      this.#starting.delete(spec.id);
    }
  }

  #waitingSpec({ network, isolation }: Class): BerthSpec {
    const id = randomBytes(6).toString('hex');
    return {
      id,
      name: `waiting-${id}`,
      image: null,
      runDirectory: join(this.#options.berthsDirectory, id, 'run'),
      hostname: 'berth',
      mounts: isolation === 'whole' ? this.#options.shared : [],
      limits: this.#options.limits,
      ports: [],
      network,
      command: null,
      labels: { 'berth.waiting': 'true' },
    };
  }

  async #canBind(): Promise<boolean> {
    this.#availability ??= this.#binding.available();
    const { available, reason } = await this.#availability;
    if (available) this.#known = { available, reason };
    else if (this.#known.available) this.#cannot(reason);
    return available;
  }

  /** Each launch is a launch from now on; it is said once. */
  #cannot(reason: string): void {
    this.#known = { available: false, reason };
    this.#emit('unavailable', reason);
  }

  async #discard(spec: BerthSpec): Promise<void> {
    this.#options.folders.forget(spec.runDirectory);
    await this.#engine.remove(spec.id);
    rmSync(join(this.#options.berthsDirectory, spec.id), { recursive: true, force: true });
    this.#marks.clear(spec.id);
  }

  /** Removes what a daemon that was killed left waiting, or half a berth: a berth that is known is then made anew. */
  #recover(): Promise<void> {
    this.#recovered ??= this.#removeLeftovers().catch((error: unknown) => {
      this.#recovered = undefined;
      throw error;
    });
    return this.#recovered;
  }

  async #removeLeftovers(): Promise<void> {
    const own = this.#own();
    const left = this.#marks.all().filter((id) => !own.has(id) && !this.#reserved.has(id));
    await Promise.all(
      left.map(async (id) => {
        await this.#engine.remove(id);
        this.#marks.clear(id);
      }),
    );
  }

  #emit(what: 'missed' | 'unavailable', reason: string): void {
    this.#options.emit({ type: `pool.${what}`, engine: this.name, reason });
  }

  #tellSize(): void {
    const { waiting, target, memoryBytes } = this.pool();
    this.#options.emit({ type: 'pool.sized', engine: this.name, waiting, target, memoryBytes });
  }
}

/** Which class a berth is of: whether it has all that those of `whole` share. */
export function isolationOf(mounts: readonly Mount[], shared: readonly Mount[]): Isolation {
  const has = (wanted: Mount) => mounts.some((mount) => isSameMount(mount, wanted));
  return shared.every(has) ? 'whole' : 'closure';
}

/** What would fail just so if the container were made anew. */
function isOwnFault(code: BerthError['code']): boolean {
  return code === 'PORT_TAKEN' || code === 'LIMIT_REFUSED' || code === 'CANCELLED';
}
