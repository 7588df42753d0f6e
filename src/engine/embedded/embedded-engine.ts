/**
 * Engine `embedded`: containers by an OCI runtime that is driven directly, with no service. All state is in files: a
 * berth's bundle, and the runtime's own folder. Which process is a berth's first is told by its pid file and checked by
 * its root folder, so nothing is lost when the daemon restarts and nothing is mistaken when process numbers come again.
 */
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sleep } from '../../core/clock.ts';
import type { Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import type { Image } from '../../oci/image.ts';
import type { ImageConfig } from '../../oci/model.ts';
import { beginCommand, pingAgent, stopThroughAgent } from '../agent/agent-client.ts';
import type {
  BerthSpec,
  BerthState,
  Engine,
  ImageUsage,
  LateBinding,
  Limits,
  LoadContext,
  LoadedImage,
  Mount,
} from '../engine.ts';
import {
  describeMinimalImage,
  makeEntries,
  type MinimalImage,
  type MinimalImageOptions,
  unpackShared,
} from '../minimal-image/minimal-image.ts';
import { imageMissing } from '../image-records.ts';
import { bindingAvailability, bindMounts } from '../pool/bind-mounts.ts';
import { createMountHelper, type MountHelper } from '../pool/mount-helper.ts';
import { containerMemory, ownMemory } from '../pool/process-memory.ts';
import { createPortForwards } from '../port-forward.ts';
import { agentSocket, prepareRunDirectory, readExitCode, waitForAgent, writeCommand } from '../run-directory.ts';
import { wholeMounts } from '../selected-mount.ts';
import { type Cgroups, findCgroups } from './cgroups.ts';
import { imageStore, type ImageStore } from './images/image-store.ts';
import { hasOverlayRoot, inOverlay, makeOverlayFolders } from './images/overlay.ts';
import { ociConfig } from './oci-config.ts';
import { removeTree } from './remove-tree.ts';
import { findRuntime, type FoundRuntime } from './find-runtime.ts';
import { type Runtime, startCommand, startContainer } from './runtime.ts';
import { endUserNetwork, startUserNetwork, userNetworkResolvConf } from './user-network.ts';

export interface EmbeddedEngineOptions extends MinimalImageOptions {
  /** Holds everything that the engine keeps. */
  readonly stateDirectory: string;
  /** Runtimes to try, in order: names on the PATH, or paths. Default crun, then runc. */
  readonly runtimes?: readonly string[];
  /** Milliseconds within which the agent must answer. Default 20 000. */
  readonly readyTimeoutMs?: number;
  /** Below which control group berths' groups are made. Default `berth`. */
  readonly cgroupParent?: string;
}

const readyTimeoutMs = 20_000;

/** What the engine remembers of a berth. */
const rememberedSchema = z.object({ runDirectory: z.string() });

export function createEmbeddedEngine(options: EmbeddedEngineOptions): Engine {
  return new EmbeddedEngine(options);
}

class EmbeddedEngine implements Engine {
  readonly name = 'embedded';
  readonly #options: EmbeddedEngineOptions;
  readonly #cgroups: Cgroups;
  readonly #ports = createPortForwards();
  readonly #images: ImageStore;
  readonly #mounts: MountHelper;
  readonly lateBinding: LateBinding;
  #image: Promise<{ image: MinimalImage; shared: string }> | undefined;
  #runtime: Promise<FoundRuntime> | undefined;

  constructor(options: EmbeddedEngineOptions) {
    this.#options = options;
    this.#cgroups = findCgroups(options.cgroupParent === undefined ? {} : { parent: options.cgroupParent });
    this.#images = imageStore({
      directory: join(options.stateDirectory, 'images'),
      berths: join(options.stateDirectory, 'berths'),
      asRoot: isRoot(),
    });
    this.#mounts = createMountHelper(
      join(options.nativeDirectory, 'berth-bind'),
      join(options.stateDirectory, 'closures'),
    );
    this.lateBinding = {
      available: () => bindingAvailability(this.#mounts),
      inspect: () => Promise.resolve(),
      bind: (spec, waiting, shown) => this.#bind(spec, waiting, shown),
      memoryOf: (id) => this.#memoryOf(id),
    };
  }

  async available(): ReturnType<Engine['available']> {
    try {
      const { runtime, version } = await this.#findRuntime();
      const who = isRoot() ? 'as root' : 'as an ordinary user';
      const limits = this.#cgroups.layout ?? 'no limits of memory, CPU or processes (no control groups may be made)';
      return { available: true, reason: `${runtime.name} ${version}, ${who}, ${limits}` };
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      return { available: false, reason: error.message };
    }
  }

  async launch(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    const { runtime } = await this.#findRuntime();
    await this.#launchWith(runtime, spec, signal);
  }

  async start(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    const { runtime } = await this.#findRuntime();
    if (!hasBundle(this.#berth(spec.id))) return this.#launchWith(runtime, spec, signal);
    if (this.#initOf(spec.id) !== undefined) return;
    try {
      await this.#clearRun(spec.id);
      await this.#run(runtime, spec, signal);
    } catch (error) {
      await this.#kill(spec.id);
      await this.#clearRun(spec.id);
      throw error;
    }
  }

  async stop(id: string, graceMs: number): Promise<void> {
    await this.#ports.close(id);
    const runDirectory = this.#remembered(id)?.runDirectory;
    if (runDirectory !== undefined && this.#initOf(id) !== undefined) {
      const stopped = stopThroughAgent(agentSocket(runDirectory), graceMs).catch((error: unknown) => {
        if (!(error instanceof BerthError)) throw error;
      });
      // The agent itself keeps to the grace time; the margin is for one that hangs.
      const giveUp = new AbortController();
      const margin = sleep(graceMs + 2000, giveUp.signal).catch(() => undefined);
      await Promise.race([stopped, margin]);
      giveUp.abort();
    }
    await this.#kill(id);
    await this.#clearRun(id);
  }

  async remove(id: string): Promise<void> {
    await this.#ports.close(id);
    await this.#kill(id);
    await this.#clearRun(id);
    const fromImage = this.#images.layersOf(this.#berth(id)) !== undefined;
    await removeTree(this.#berth(id));
    // It may have been the last that used a layer.
    if (fromImage) await this.#images.sweep();
  }

  async inspect(id: string): Promise<BerthState> {
    const pid = this.#initOf(id);
    if (pid !== undefined) return { state: 'running', pid };
    // Its first process may have ended by itself, which the network's helper does not notice.
    endUserNetwork(this.#networkPidFile(id));
    const runDirectory = this.#remembered(id)?.runDirectory;
    if (runDirectory === undefined) return hasBundle(this.#berth(id)) ? { state: 'created' } : { state: 'gone' };
    return { state: 'stopped', exitCode: await readExitCode(runDirectory) };
  }

  async list(): Promise<string[]> {
    try {
      return (await readdir(join(this.#options.stateDirectory, 'berths'))).sort();
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }

  setLimits(id: string, limits: Limits): Promise<void> {
    // What throws in here rejects.
    return new Promise((resolve) => {
      if (this.#initOf(id) === undefined) {
        throw new BerthError('AGENT_UNREACHABLE', `The berth ${id} is not running.`);
      }
      this.#cgroups.setLimits(id, limits);
      resolve();
    });
  }

  close(): Promise<void> {
    this.#mounts.close();
    return Promise.resolve();
  }

  async adopt(spec: BerthSpec): Promise<void> {
    if ((await this.inspect(spec.id)).state === 'running') await this.#openPorts(spec);
  }

  async attach(id: string, mount: Mount): Promise<void> {
    const pid = this.#initOf(id);
    if (pid === undefined) throw new BerthError('AGENT_UNREACHABLE', `The berth ${id} is not running.`);
    await this.#mounts.bind({ pid, hostname: '', mounts: [mount], links: false });
  }

  async #bind(spec: BerthSpec, waiting: BerthSpec, shown?: string): Promise<void> {
    const pid = this.#initOf(spec.id);
    if (pid === undefined) throw new BerthError('LAUNCH_FAILED', 'The container that waited has ended.');
    if (JSON.stringify(spec.limits) !== JSON.stringify(waiting.limits)) this.#cgroups.setLimits(spec.id, spec.limits);
    if (spec.network === 'host') copyFileSync('/etc/resolv.conf', join(this.#berth(spec.id), 'resolv.conf'));
    await bindMounts(this.#mounts, pid, spec, waiting, shown);
    if (spec.command) {
      writeCommand(spec.runDirectory, spec.command);
      await beginCommand(agentSocket(spec.runDirectory));
    }
    await this.#openPorts(spec);
  }

  /** With what serves the berth's network, which is in none of its control groups. */
  #memoryOf(id: string): number | null {
    const pid = this.#initOf(id);
    const memory = pid === undefined ? null : containerMemory(pid);
    const helper = numberIn(this.#networkPidFile(id));
    return memory === null || helper === undefined ? memory : memory + ownMemory(helper);
  }

  /** On the host's own network a port that keeps its number is open already. */
  #openPorts(spec: BerthSpec): Promise<void> {
    const ports = spec.network === 'host' ? spec.ports.filter(({ host, container }) => host !== container) : spec.ports;
    return this.#ports.open({ ...spec, ports });
  }

  loadImage(image: Image, context: LoadContext): Promise<LoadedImage> {
    return this.#images.load(image, context);
  }

  hasImage(digest: Digest): Promise<boolean> {
    return Promise.resolve(this.#images.find(digest) !== undefined);
  }

  removeImage(digest: Digest): Promise<void> {
    return this.#images.remove(digest);
  }

  images(): Promise<Digest[]> {
    return Promise.resolve(this.#images.all().map((record) => record.digest));
  }

  imageConfig(digest: Digest): Promise<ImageConfig> {
    const record = this.#images.find(digest);
    return record ? Promise.resolve(record.config) : Promise.reject(imageMissing(digest));
  }

  imageUsage(): Promise<ImageUsage[]> {
    return Promise.resolve(this.#images.usage());
  }

  #berth(id: string): string {
    return join(this.#options.stateDirectory, 'berths', id);
  }

  #findRuntime(): Promise<FoundRuntime> {
    this.#runtime ??= findRuntime({
      candidates: this.#options.runtimes ?? ['crun', 'runc'],
      memory: join(this.#options.stateDirectory, 'runtime.json'),
      tryOut: (runtime) => this.#tryOut(runtime),
    }).catch((error: unknown) => {
      // Not for ever: the user may install one.
      this.#runtime = undefined;
      throw error;
    });
    return this.#runtime;
  }

  /** A real container, since whether a runtime works on a machine cannot be told by looking. */
  async #tryOut(runtime: Runtime): Promise<void> {
    const id = `0ff${Date.now().toString(16).slice(-9)}`;
    const runDirectory = join(this.#options.stateDirectory, `try-${runtime.name}`);
    await rm(runDirectory, { recursive: true, force: true });
    mkdirSync(runDirectory, { recursive: true });
    try {
      await this.#launchWith(runtime, {
        ...{ id, name: id, runDirectory, hostname: 'berth', mounts: [], ports: [], network: 'none', command: null },
        limits: { memoryBytes: null, cpus: null, pids: null },
        image: null,
        labels: {},
      });
      await pingAgent(agentSocket(runDirectory));
    } finally {
      await this.remove(id);
      await rm(runDirectory, { recursive: true, force: true });
    }
  }

  #prepareImage(): Promise<{ image: MinimalImage; shared: string }> {
    this.#image ??= describeMinimalImage(this.#options)
      .then(async (image) => ({
        image,
        shared: await unpackShared(image, join(this.#options.stateDirectory, 'image')),
      }))
      .catch((error: unknown) => {
        this.#image = undefined;
        throw error;
      });
    return this.#image;
  }

  async #launchWith(runtime: Runtime, spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    const { image } = await this.#prepareImage();
    const berth = this.#berth(spec.id);
    try {
      if (spec.image === null) {
        mkdirSync(join(berth, 'rootfs'), { recursive: true });
        makeEntries(image.skeleton, join(berth, 'rootfs'));
      } else {
        this.#images.attach(spec.image, berth);
        makeOverlayFolders(berth);
      }
      await this.#run(runtime, spec, signal);
    } catch (error) {
      await this.remove(spec.id);
      throw error;
    }
  }

  /** Starts the container of a bundle whose root folder is there. */
  async #run(runtime: Runtime, spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { shared } = await this.#prepareImage();
    const berth = this.#berth(spec.id);
    prepareRunDirectory(spec.runDirectory, spec.command);
    const resolvConf = join(berth, 'resolv.conf');
    if (spec.network === 'host') copyFileSync('/etc/resolv.conf', resolvConf);
    if (spec.network === 'bridge') writeFileSync(resolvConf, userNetworkResolvConf);
    const layers = this.#images.layersOf(berth);
    const user = isRoot() ? undefined : ownUser(layers !== undefined);
    const config = ociConfig({
      spec: { ...spec, mounts: wholeMounts(spec.mounts, join(berth, 'places')) },
      rootDirectory: join(berth, 'rootfs'),
      sharedDirectory: shared,
      ...(spec.network === 'none' ? {} : { resolvConf }),
      ...(runtime.groupsBy === 'runtime' && this.#cgroups.layout ? { cgroupsPath: this.#cgroups.pathOf(spec.id) } : {}),
      ...(user ? { userNamespace: user } : {}),
    });
    writeFileSync(join(berth, 'config.json'), JSON.stringify(config));
    const runtimeCommand = startCommand(runtime, {
      id: spec.id,
      bundle: berth,
      pidFile: this.#pidFile(spec.id),
      stateDirectory: join(this.#options.stateDirectory, 'runtime'),
    });
    const overlay = layers && { layerDirectory: this.#images.layerDirectory, layers, berth, asRoot: isRoot() };
    const command = overlay ? inOverlay(overlay, runtimeCommand, this.#options.busybox) : runtimeCommand;
    const wait = waitForAgent(spec.runDirectory, this.#options.readyTimeoutMs ?? readyTimeoutMs);
    const abort = () => wait.cancel();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      writeFileSync(join(berth, 'berth.json'), JSON.stringify({ runDirectory: spec.runDirectory }));
      this.#cgroups.create(spec.id, spec.limits);
      await startContainer(runtime, command, this.#cgroups.joinFiles(spec.id), this.#options.busybox);
      await Promise.all([wait.ready, this.#giveNetwork(spec)]);
      await this.#openPorts(spec);
    } finally {
      signal?.removeEventListener('abort', abort);
      wait.cancel();
    }
  }

  /** Gives the berth's network a way out, if it has one. */
  async #giveNetwork(spec: BerthSpec): Promise<void> {
    if (spec.network !== 'bridge') return;
    writeFileSync(this.#networkPidFile(spec.id), String(await startUserNetwork(this.#pidOf(spec.id))));
  }

  #networkPidFile(id: string): string {
    return join(this.#berth(id), 'network.pid');
  }

  #pidOf(id: string): number {
    return numberIn(this.#pidFile(id)) ?? 0;
  }

  #pidFile(id: string): string {
    return join(this.#berth(id), 'pid');
  }

  #remembered(id: string): z.infer<typeof rememberedSchema> | undefined {
    try {
      const text = readFileSync(join(this.#berth(id), 'berth.json'), 'utf8');
      return rememberedSchema.parse(JSON.parse(text));
    } catch (error) {
      if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** @returns the host's number of the berth's first process, or undefined when it does not run */
  #initOf(id: string): number | undefined {
    try {
      const pid = numberIn(this.#pidFile(id));
      if (pid === undefined) return undefined;
      const berth = this.#berth(id);
      if (this.#images.layersOf(berth)) {
        return hasOverlayRoot(pid, this.#images.layerDirectory, berth) ? pid : undefined;
      }
      // The number may be another process's by now; the root folder is only this container's. A zombie has none.
      const root = statSync(`/proc/${pid}/root/`);
      const own = statSync(join(berth, 'rootfs'));
      return root.ino === own.ino && root.dev === own.dev ? pid : undefined;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return undefined;
      throw error;
    }
  }

  /** Kills the container's first process, which takes all others with it, and waits for that. */
  async #kill(id: string): Promise<void> {
    for (let pid = this.#initOf(id); pid !== undefined; pid = this.#initOf(id)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (!isErrno(error, 'ESRCH')) throw error;
      }
      await sleep(2);
    }
  }

  /** Removes what a run of the container left outside its bundle. */
  async #clearRun(id: string): Promise<void> {
    endUserNetwork(this.#networkPidFile(id));
    await this.#cgroups.remove(id);
    await rm(join(this.#options.stateDirectory, 'runtime', id), { recursive: true, force: true });
    await rm(this.#pidFile(id), { force: true });
  }
}

/** The ids that become root's in a user namespace: those of the namespace around it, where an overlay has one already. */
function ownUser(inOverlay: boolean): { uid: number; gid: number } {
  return inOverlay ? { uid: 0, gid: 0 } : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

function hasBundle(berth: string): boolean {
  try {
    return statSync(berth).isDirectory();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** @returns the process's number that a file holds, or undefined where there is none */
function numberIn(path: string): number | undefined {
  try {
    const number = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return number > 0 ? number : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
