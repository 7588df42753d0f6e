/**
 * Engine `docker`: containers by any server of the Docker Engine API, from the same minimal image with the same agent,
 * so that nothing but making and removing a container differs from the embedded engine. All state is the server's.
 */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type Docker from 'dockerode';
import { sleep } from '../../core/clock.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { SingleFlight } from '../../core/single-flight.ts';
import type { Image } from '../../oci/image.ts';
import type { ImageConfig } from '../../oci/model.ts';
import { beginCommand, stopThroughAgent } from '../agent/agent-client.ts';
import type {
  Availability,
  BerthSpec,
  BerthState,
  Engine,
  LateBinding,
  Limits,
  LoadContext,
  LoadedImage,
  Mount,
} from '../engine.ts';
import { imageMissing, imageRecords, type ImageRecords, recordOf } from '../image-records.ts';
import {
  describeMinimalImage,
  type MinimalImage,
  type MinimalImageOptions,
  unpackShared,
} from '../minimal-image/minimal-image.ts';
import { bindingAvailability, bindMounts, startTimeOf } from '../pool/bind-mounts.ts';
import { createWaitingMarks, type WaitingMarks } from '../pool/waiting-marks.ts';
import { createMountHelper, type MountHelper } from '../pool/mount-helper.ts';
import { containerMemory, groupsOf } from '../pool/process-memory.ts';
import { createPortForwards } from '../port-forward.ts';
import { agentSocket, prepareRunDirectory, readExitCode, waitForAgent, writeCommand } from '../run-directory.ts';
import { wholeMounts } from '../selected-mount.ts';
import { containerName, containerOptions, label, resourcesOf } from './container-options.ts';
import { dockerError, statusOf } from './docker-errors.ts';
import { imageName, importMinimalImage } from './image.ts';
import { askWhatIsSeen } from './seen-folders.ts';
import { isLoaded, loadedImages, loadedName, loadIntoDocker, nameInDocker, type ServeImage } from './load-image.ts';

export interface DockerEngineOptions extends MinimalImageOptions {
  /** The server's unix socket. It must see the same files as Berth does: folders are mounted by their paths. */
  readonly socketPath: string;
  /** Holds the unpacked image; also tells this Berth's containers from those of another on the same server. */
  readonly stateDirectory: string;
  /** Milliseconds within which the agent must answer. Default 30 000. */
  readonly readyTimeoutMs?: number;
  /** Offers an image for the server to pull, by which only what it lacks moves. Absent: images are sent as archives. */
  readonly serveImage?: ServeImage;
}

export function createDockerEngine(options: DockerEngineOptions): Engine {
  return new DockerEngine(options);
}

interface PreparedImage {
  readonly image: MinimalImage;
  readonly shared: string;
}

class DockerEngine implements Engine {
  readonly name = 'docker';
  readonly #options: DockerEngineOptions;
  readonly #instance: string;
  readonly #ports = createPortForwards();
  readonly #records: ImageRecords;
  readonly #loads = new SingleFlight<Digest, LoadedImage>();
  readonly #seen = new Map<string, { readonly visible: boolean; readonly reason: string }>();
  readonly #mounts: MountHelper;
  /** First processes of the containers that wait, with the time when they started. */
  readonly #waiting = new Map<string, { readonly pid: number; readonly startTime: string }>();
  readonly lateBinding: LateBinding;
  /** Berths whose container is started and does not have all yet. */
  readonly #halves: WaitingMarks;
  #docker: Promise<Docker> | undefined;
  #image: Promise<PreparedImage> | undefined;

  constructor(options: DockerEngineOptions) {
    this.#options = options;
    this.#instance = digestOf(options.stateDirectory).slice(-16);
    this.#records = imageRecords(join(options.stateDirectory, 'images'));
    this.#mounts = createMountHelper(
      join(options.nativeDirectory, 'berth-bind'),
      join(options.stateDirectory, 'closures'),
    );
    this.#halves = createWaitingMarks(join(options.stateDirectory, 'halves'));
    this.lateBinding = {
      available: () => bindingAvailability(this.#mounts),
      inspect: (id) => this.#reach(id),
      bind: (spec, waiting, shown) => this.#bind(spec, waiting, shown),
      memoryOf: (id) => containerMemory(this.#waiting.get(id)?.pid ?? 0),
    };
  }

  async available(): Promise<Availability> {
    try {
      const { Version } = await (await this.#connect()).version();
      return { available: true, reason: `Docker ${Version} on ${this.#options.socketPath}` };
    } catch (error) {
      const known = dockerError(error, 'ENGINE_UNAVAILABLE', `Docker on ${this.#options.socketPath}`);
      if (!(known instanceof BerthError)) throw error;
      return { available: false, reason: known.message };
    }
  }

  async launch(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    try {
      await this.#create(spec);
      await this.#run(spec, signal);
    } catch (error) {
      await this.remove(spec.id);
      throw error;
    }
  }

  async start(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    await this.#endHalf(spec.id);
    const state = await this.inspect(spec.id);
    if (state.state === 'running') return;
    if (state.state === 'gone') return this.launch(spec, signal);
    try {
      if (await this.#waited(spec.id)) {
        this.#halves.set(spec.id);
        await this.#run({ ...spec, command: null, ports: [] }, signal);
        await this.#reach(spec.id);
        await this.#bind(spec, { ...spec, mounts: await this.#ownMounts(spec) });
        this.#halves.clear(spec.id);
      } else await this.#run(spec, signal);
    } catch (error) {
      await this.#kill(spec.id);
      throw error;
    }
  }

  async stop(id: string, graceMs: number): Promise<void> {
    await this.#ports.close(id);
    const found = await this.#find(id);
    if (!found?.running) return;
    // The agent itself keeps to the grace time; the margin is for one that hangs.
    const giveUp = new AbortController();
    await Promise.race([
      stopThroughAgent(agentSocket(found.runDirectory), graceMs).catch((error: unknown) => {
        if (!(error instanceof BerthError)) throw error;
      }),
      sleep(graceMs + 2000, giveUp.signal).catch(() => undefined),
    ]);
    giveUp.abort();
    await this.#kill(id);
  }

  async remove(id: string): Promise<void> {
    await this.#ports.close(id);
    this.#waiting.delete(id);
    this.#halves.clear(id);
    rmSync(this.#places(id), { recursive: true, force: true });
    try {
      await (await this.#container(id)).remove({ force: true, v: true });
    } catch (error) {
      // 409: another call removes it already.
      if (statusOf(error) === 409) return this.#awaitGone(id);
      if (statusOf(error) !== 404) throw dockerError(error, 'INTERNAL', `The container of ${id} cannot be removed`);
    }
  }

  async inspect(id: string): Promise<BerthState> {
    const found = await this.#find(id);
    if (found === undefined) return { state: 'gone' };
    if (found.running) return { state: 'running', pid: found.pid };
    if (found.created) return { state: 'created' };
    return { state: 'stopped', exitCode: await readExitCode(found.runDirectory) };
  }

  async list(): Promise<string[]> {
    // Where no server is installed there is nothing to ask, and nothing to load for it.
    if (!existsSync(this.#options.socketPath)) return [];
    try {
      const containers = await (
        await this.#connect()
      ).listContainers({
        all: true,
        filters: { label: [`${label.instance}=${this.#instance}`] },
      });
      return containers.flatMap(({ Labels }) => Labels[label.id] ?? []).sort();
    } catch (error) {
      throw dockerError(error, 'ENGINE_UNAVAILABLE', 'The containers cannot be listed');
    }
  }

  async adopt(spec: BerthSpec): Promise<void> {
    await this.#endHalf(spec.id);
    if ((await this.#find(spec.id))?.running) await this.#openPorts(spec);
  }

  async setLimits(id: string, limits: Limits): Promise<void> {
    try {
      await (await this.#container(id)).update(resourcesOf(limits, false));
    } catch (error) {
      throw dockerError(error, 'LIMIT_REFUSED', `The limits of ${id} cannot be set`);
    }
  }

  async loadImage(image: Image, context: LoadContext): Promise<LoadedImage> {
    const record = recordOf(image);
    const { value } = await this.#loads.run(
      record.digest,
      async (signal) => {
        const docker = await this.#connect();
        const loaded = (await isLoaded(docker, record.digest))
          ? { movedBytes: 0, movedLayers: 0, keptLayers: image.layers.length, how: 'there already' }
          : await loadIntoDocker(docker, image, this.#options.serveImage, { ...context, signal });
        await this.#records.save(record);
        return loaded;
      },
      context.signal,
    );
    if (context.tag !== undefined) await nameInDocker(await this.#connect(), record.digest, context.tag);
    return value;
  }

  async hasImage(digest: Digest): Promise<boolean> {
    try {
      return this.#records.find(digest) !== undefined && (await isLoaded(await this.#connect(), digest));
    } catch (error) {
      throw dockerError(error, 'ENGINE_UNAVAILABLE', 'The images cannot be asked for');
    }
  }

  async removeImage(digest: Digest): Promise<void> {
    this.#records.delete(digest);
    try {
      // By force: containers that use it keep its layers, and only the name goes.
      await (await this.#connect()).getImage(loadedName(digest)).remove({ force: true });
    } catch (error) {
      if (statusOf(error) !== 404) throw dockerError(error, 'INTERNAL', `The image ${digest} cannot be removed`);
    }
  }

  async images(): Promise<Digest[]> {
    if (!existsSync(this.#options.socketPath)) return [];
    try {
      const loaded = await loadedImages(await this.#connect());
      return loaded.filter((digest) => this.#records.find(digest) !== undefined);
    } catch (error) {
      throw dockerError(error, 'ENGINE_UNAVAILABLE', 'The images cannot be listed');
    }
  }

  async sees(path: string): Promise<{ visible: boolean; reason: string }> {
    const folder = dirname(path);
    const known = this.#seen.get(folder);
    if (known) return known;
    const { image } = await this.#prepareImage();
    const answer = await askWhatIsSeen(await this.#connect(), imageName(image), this.#options, path);
    // What is not seen may be later, for example when another folder is shared with a virtual machine.
    if (answer.visible) this.#seen.set(folder, answer);
    return answer;
  }

  imageConfig(digest: Digest): Promise<ImageConfig> {
    const record = this.#records.find(digest);
    return record ? Promise.resolve(record.config) : Promise.reject(imageMissing(digest));
  }

  close(): Promise<void> {
    this.#mounts.close();
    return Promise.resolve();
  }

  /** Finds out by which process a container can be reached: the server may be on another machine. */
  async #reach(id: string): Promise<void> {
    const { State, Id } = await (await this.#container(id)).inspect();
    const startTime = startTimeOf(State.Pid);
    if (startTime === undefined || !groupsOf(State.Pid).some((group) => group.includes(Id))) {
      throw new BerthError('POOL_UNAVAILABLE', `The containers of ${this.#options.socketPath} are on another machine.`);
    }
    this.#waiting.set(id, { pid: State.Pid, startTime });
  }

  async attach(id: string, mount: Mount): Promise<void> {
    await this.#reach(id);
    const { pid } = this.#waiting.get(id) ?? { pid: 0 };
    await this.#mounts.bind({ pid, hostname: '', mounts: [mount], links: false });
  }

  async #bind(spec: BerthSpec, waiting: BerthSpec, shown?: string): Promise<void> {
    const { pid, startTime } = this.#waiting.get(spec.id) ?? { pid: 0, startTime: '' };
    if (startTime === '' || startTimeOf(pid) !== startTime) {
      throw new BerthError('LAUNCH_FAILED', 'The container that waited has ended.');
    }
    if (JSON.stringify(spec.limits) !== JSON.stringify(waiting.limits)) await this.setLimits(spec.id, spec.limits);
    await bindMounts(this.#mounts, pid, spec, waiting, shown);
    if (spec.command) {
      writeCommand(spec.runDirectory, spec.command);
      await beginCommand(agentSocket(spec.runDirectory));
    }
    await this.#openPorts(spec);
  }

  /** Stops what a daemon started and was killed before it had attached what the server does not know of. */
  async #endHalf(id: string): Promise<void> {
    if (!this.#halves.all().includes(id)) return;
    await this.#kill(id);
    this.#halves.clear(id);
  }

  /** Whether the container was made to wait: then the server knows less of it than the berth has. */
  async #waited(id: string): Promise<boolean> {
    const { Config } = await (await this.#container(id)).inspect();
    return Config.Labels['berth.waiting'] !== undefined;
  }

  /** @returns those mounts of a berth that the server itself makes at each start */
  async #ownMounts(spec: BerthSpec): Promise<BerthSpec['mounts']> {
    const { Mounts } = await (await this.#container(spec.id)).inspect();
    const targets = new Set(Mounts.map(({ Destination }) => Destination));
    return spec.mounts.filter(({ target }) => targets.has(target));
  }

  #places(id: string): string {
    return join(this.#options.stateDirectory, 'places', id);
  }

  /** The client is loaded when it is first used: that takes longer than all else in a daemon's start. */
  #connect(): Promise<Docker> {
    const { socketPath } = this.#options;
    if (!existsSync(socketPath)) {
      return Promise.reject(
        new BerthError('ENGINE_UNAVAILABLE', `Docker on ${socketPath}: no Docker server answers (ENOENT).`),
      );
    }
    this.#docker ??= import('dockerode').then(({ default: Client }) => new Client({ socketPath }));
    return this.#docker;
  }

  async #container(id: string): Promise<Docker.Container> {
    return (await this.#connect()).getContainer(containerName(id));
  }

  #prepareImage(): Promise<PreparedImage> {
    this.#image ??= describeMinimalImage(this.#options)
      .then(async (image) => {
        const [shared] = await Promise.all([
          unpackShared(image, join(this.#options.stateDirectory, 'image')),
          importMinimalImage(await this.#connect(), image),
        ]);
        return { image, shared };
      })
      .catch((error: unknown) => {
        this.#image = undefined;
        throw error;
      });
    return this.#image;
  }

  async #create(spec: BerthSpec): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const { image, shared } = await this.#prepareImage();
      try {
        const docker = await this.#connect();
        const name = spec.image === null ? imageName(image) : loadedName(spec.image);
        const mounts = wholeMounts(spec.mounts, this.#places(spec.id));
        await docker.createContainer(containerOptions({ ...spec, mounts }, name, shared, this.#instance));
        return;
      } catch (error) {
        if (statusOf(error) === 404 && spec.image !== null) throw imageMissing(spec.image);
        // The image may have been removed since it was imported.
        if (statusOf(error) !== 404 || attempt > 0) {
          throw dockerError(error, 'LAUNCH_FAILED', `Docker did not make the container of ${spec.name}`);
        }
        this.#image = undefined;
      }
    }
  }

  /** Starts the container that is there and waits for its agent. */
  async #run(spec: BerthSpec, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    prepareRunDirectory(spec.runDirectory, spec.command);
    const container = await this.#container(spec.id);
    const wait = waitForAgent(spec.runDirectory, this.#options.readyTimeoutMs ?? 30_000);
    const abort = () => wait.cancel();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await container.start();
      await wait.ready;
      await this.#openPorts(spec);
    } catch (error) {
      throw dockerError(error, 'LAUNCH_FAILED', `Docker did not start the container of ${spec.name}`);
    } finally {
      signal?.removeEventListener('abort', abort);
      wait.cancel();
    }
  }

  /** On the host's own network a port that keeps its number is open already. */
  #openPorts(spec: BerthSpec): Promise<void> {
    const ports = spec.network === 'host' ? spec.ports.filter(({ host, container }) => host !== container) : spec.ports;
    return this.#ports.open({ ...spec, ports });
  }

  async #find(id: string) {
    try {
      const { State, Config } = await (await this.#container(id)).inspect();
      return {
        running: State.Running,
        created: State.Status === 'created',
        pid: State.Pid,
        runDirectory: Config.Labels[label.runDirectory] ?? '',
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw dockerError(error, 'ENGINE_UNAVAILABLE', `The container of ${id} cannot be inspected`);
    }
  }

  /** Kills what still runs of the container, and waits until the server knows. */
  async #kill(id: string): Promise<void> {
    const container = await this.#container(id);
    try {
      // Where the agent has ended, the server is about to notice: there is nothing to kill then.
      const stopped = container.wait();
      if (await isSlow(stopped, 1000)) await container.kill();
      await stopped;
    } catch (error) {
      // 409: it does not run any more.
      if (statusOf(error) !== 404 && statusOf(error) !== 409) {
        throw dockerError(error, 'INTERNAL', `The container of ${id} cannot be stopped`);
      }
    }
  }

  async #awaitGone(id: string): Promise<void> {
    while ((await this.#find(id)) !== undefined) await sleep(20);
  }
}

/** @returns whether the promise takes longer than so many milliseconds */
async function isSlow(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const giveUp = new AbortController();
  const slow = sleep(ms, giveUp.signal).then(
    () => true,
    () => false,
  );
  const result = await Promise.race([promise.then(() => false), slow]);
  giveUp.abort();
  return result;
}
