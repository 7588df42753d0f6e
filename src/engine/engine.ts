/**
 * The port of what runs containers. It speaks Berth's words: no type of dockerode or of the OCI runtime crosses it.
 * Adapters: embedded/, docker/. Contract suite: engine-contract.ts, run by each adapter's test.
 */

import type { Digest } from '../core/digest.ts';
import type { Emit } from '../core/events.ts';
import type { Image } from '../oci/image.ts';
import type { ImageConfig } from '../oci/model.ts';

/** Limits of one berth. Absent means the engine's settings' default; null means no limit. */
export interface Limits {
  readonly memoryBytes: number | null;
  /** CPUs, fractions allowed: 1.5. */
  readonly cpus: number | null;
  readonly pids: number | null;
}

/** A folder or file of the host in the container. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Only these entries of the source folder, by their names; the target shows nothing else. Absent: all of it. */
  readonly only?: readonly string[];
  /**
   * Absent: the folder itself is shown. Else it stays as it is, and what the container changes goes to `upper`; both are
   * empty folders of one file system, made before, and kept by whoever made them.
   */
  readonly overlay?: { readonly upper: string; readonly work: string };
}

export interface BerthSpec {
  /** Unique for ever; 12 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  /**
   * Manifest digest of an image that the engine holds; null: the minimal image. Whatever the image is, Berth's agent is
   * mounted into it at /berth and is its first process: entry point, command, user and variables of the image's own
   * configuration count for nothing here. Who wants them asks `imageConfig` and passes them on.
   */
  readonly image: Digest | null;
  /**
   * The berth's own folder on the host, mounted read-write at /run/berth. The agent's socket appears in it as
   * `agent.sock`. Before create, the caller writes `environment` (NUL-separated K=V) and, where there are any, `hook`
   * (a shell script) into it, and the link `fhs` to the FHS view (a /nix/store path). Replacing one of these by rename
   * changes what the next command gets.
   */
  readonly runDirectory: string;
  readonly hostname: string;
  readonly mounts: readonly Mount[];
  readonly limits: Limits;
  /** Published ports: host port to container port, on loopback. */
  readonly ports: readonly { readonly host: number; readonly container: number }[];
  /** `none`: a loopback interface only; `host`: the host's network; `bridge`: engine docker's default network. */
  readonly network: 'none' | 'host' | 'bridge';
  /** Run by the agent, with the environment, once it is up; its output is the berth's log. null: only wait. */
  readonly command: readonly string[] | null;
  readonly labels: Readonly<Record<string, string>>;
}

export type BerthState =
  | { readonly state: 'created' }
  | { readonly state: 'running'; readonly pid: number }
  | { readonly state: 'stopped'; readonly exitCode: number | null }
  | { readonly state: 'gone' };

export interface Availability {
  readonly available: boolean;
  /** Why, in one sentence for people: "runc 1.1.5, as root" or "no Docker server answers on …". */
  readonly reason: string;
}

/** What bringing an image in has moved. */
export interface LoadedImage {
  /** Bytes of layers, as they are packed, that went to the engine. */
  readonly movedBytes: number;
  readonly movedLayers: number;
  /** Layers that the engine had already. */
  readonly keptLayers: number;
  /** By which way, in a few words for people: "pulled from 127.0.0.1", "unpacked". */
  readonly how: string;
}

/** What an image takes on the engine's disk, unpacked. Bytes of file content, without what directories take. */
export interface ImageUsage {
  readonly digest: Digest;
  readonly layers: number;
  readonly totalBytes: number;
  /** Of the total, in layers that another image has too. */
  readonly sharedBytes: number;
  /** Of the total, in layers that only this image has. */
  readonly uniqueBytes: number;
  /** Of the total, in files that the store holds as well (hard links): they take no room of their own. */
  readonly storeBytes: number;
}

export interface LoadContext {
  readonly emit: Emit;
  /** `NAME:TAG` for people, on engines whose images have names; the newest image of a name has it. */
  readonly tag?: string;
  readonly signal?: AbortSignal;
}

/** What an engine can do with a container that runs and has no environment yet; the pool is made from it. */
export interface LateBinding {
  /** Whether it can be done here, and why not. */
  available(signal?: AbortSignal): Promise<Availability>;
  /**
   * Looks at a container that has just been launched to wait.
   * @throws BerthError POOL_UNAVAILABLE when it can't be reached from here
   */
  inspect(id: string): Promise<void>;
  /**
   * Gives a waiting container what `spec` has and `waiting` has not: mounts, host name, limits, ports; then its command
   * begins. The caller has written the run directory. A container that it fails for is of no use any more.
   * @param shown the FHS view whose /etc the container shows already
   * @throws BerthError
   */
  bind(spec: BerthSpec, waiting: BerthSpec, shown?: string): Promise<void>;
  /** @returns bytes of memory that the container takes with what serves it alone, or null where nobody counts */
  memoryOf(id: string): number | null;
}

/** The pool of an engine, as it is now. */
export interface PoolStatus {
  readonly engine: Engine['name'];
  /** False: berths are created and started; `reason` says why. */
  readonly available: boolean;
  readonly reason: string;
  /** Of all containers that are the pool's. */
  readonly ids: readonly string[];
  /** Containers that wait, and how many should. */
  readonly waiting: number;
  readonly target: number;
  /** Containers that are being made to wait. */
  readonly starting: number;
  /** Launches that found one waiting, and that did not, since the daemon started. */
  readonly hits: number;
  readonly misses: number;
  /** Memory that the waiting ones take together, in bytes; null where it can't be measured. */
  readonly memoryBytes: number | null;
  readonly classes: readonly {
    readonly network: BerthSpec['network'];
    readonly isolation: Isolation;
    readonly waiting: number;
    readonly target: number;
  }[];
}

/** What a berth sees of the store: `whole` of it, or the paths of its environment's `closure` only. */
export type Isolation = 'whole' | 'closure';

export interface Engine {
  readonly name: 'embedded' | 'docker';
  available(signal?: AbortSignal): Promise<Availability>;
  /** Makes and starts the container; resolves when the agent answers. Leaves nothing behind when it fails. */
  launch(spec: BerthSpec, signal?: AbortSignal): Promise<void>;
  /** Starts a stopped berth again from the same spec. */
  start(spec: BerthSpec, signal?: AbortSignal): Promise<void>;
  /** SIGTERM to the berth's processes, SIGKILL after the grace time. */
  stop(id: string, graceMs: number): Promise<void>;
  /** Removes the container; a running one is killed. Removing one that is gone is no error. */
  remove(id: string): Promise<void>;
  inspect(id: string): Promise<BerthState>;
  /** @returns ids of all containers of this Berth that the engine has, running or not */
  list(): Promise<string[]>;
  /**
   * Takes a running berth over from an earlier daemon: opens again what lives in the daemon's process, its published
   * ports. Does nothing for a berth that does not run.
   * @throws BerthError PORT_TAKEN
   */
  adopt(spec: BerthSpec): Promise<void>;
  /** Changes the limits of a running berth. */
  setLimits(id: string, limits: Limits): Promise<void>;
  /**
   * Brings an image in, moving only the layers that are not there. An image that is there whole moves nothing.
   * @throws BerthError IMAGE_INVALID for one that is damaged or cannot be unpacked safely; nothing of it stays
   */
  loadImage(image: Image, context: LoadContext): Promise<LoadedImage>;
  /** @param digest of the image's manifest */
  hasImage(digest: Digest): Promise<boolean>;
  /** Removes an image; berths that run from it go on. Removing one that is gone is no error. */
  removeImage(digest: Digest): Promise<void>;
  /** @returns manifest digests of the images that Berth brought in */
  images(): Promise<Digest[]>;
  /**
   * The configuration of an image that is held: what it wants as variables, working folder, user and command.
   * @throws BerthError IMAGE_MISSING
   */
  imageConfig(digest: Digest): Promise<ImageConfig>;
  /**
   * Whether containers can have a folder of this host mounted; absent where all can.
   * @param path below that folder, which nothing else than this host has
   * @throws BerthError ENGINE_UNAVAILABLE where not even Berth's own folder can be mounted, so that no mode works
   */
  sees?(path: string): Promise<{ readonly visible: boolean; readonly reason: string }>;
  /** What the images take on disk, unpacked; absent where the engine cannot tell. */
  imageUsage?(): Promise<ImageUsage[]>;
  /**
   * Mounts a folder in a running berth, over what is there: a larger closure before a switch leads to it. Processes keep
   * what they have open.
   * @throws BerthError POOL_UNAVAILABLE where that can't be done: then the berth must be made anew
   */
  attach?(id: string, mount: Mount): Promise<void>;
  /** Ends what the engine keeps ready for the next launch; berths go on. */
  close?(): Promise<void>;
  readonly lateBinding?: LateBinding;
  /**
   * Takes a container that waits for a berth like this. The caller writes the run directory of its id and calls `launch`
   * with it, or `remove`.
   * @returns undefined when none waits: then any new id may be launched
   */
  reserve?(spec: Omit<BerthSpec, 'id' | 'runDirectory'>): { readonly id: string } | undefined;
  /** The pool that `reserve` takes from. */
  pool?(): PoolStatus;
}
