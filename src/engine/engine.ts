/**
 * The port of what runs containers. It speaks Berth's words: no type of dockerode or of the OCI runtime crosses it.
 * Adapters: embedded/, docker/. Contract suite: engine-contract.ts, run by each adapter's test.
 */

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
}

export interface BerthSpec {
  /** Unique for ever; 12 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
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
  /** Ends what the engine keeps ready for the next launch; berths go on. */
  close?(): Promise<void>;
}
