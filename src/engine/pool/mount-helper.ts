/**
 * Attaches folders to containers that run: the client of native/src/bind.c. It needs root, and the mount API of Linux 5.12
 * (open_tree, move_mount, mount_setattr). One process serves all of an engine's claims; it is started when first needed,
 * and ends with the daemon.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { getSystemErrorName } from 'node:util';
import { digestOf } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import type { Mount } from '../engine.ts';

export interface BindRequest {
  /** A process of the container, on the host. */
  readonly pid: number;
  readonly hostname: string;
  readonly mounts: readonly Mount[];
  /** Whether /etc is to show what the FHS view has there: docs/agent.md. */
  readonly links: boolean;
}

export interface MountHelper {
  /** Finds out whether folders can be attached here. @throws BerthError POOL_UNAVAILABLE */
  probe(): Promise<void>;
  /** @throws BerthError LAUNCH_FAILED, POOL_UNAVAILABLE */
  bind(request: BindRequest): Promise<void>;
  close(): void;
}

/** Milliseconds within which an answer must come; it takes about one. */
const answerTimeoutMs = 10_000;
/** The kernel allows 100 000 mounts in a mount namespace (fs.mount-max). */
const maxFarmMounts = 40_000;
const answerBytes = 12;

/**
 * @param program native/bin/ARCH-linux/berth-bind
 * @param directory a folder of its own, in which farms are made; the host sees it empty
 */
export function createMountHelper(program: string, directory: string): MountHelper {
  return new Helper(program, directory);
}

interface Asked {
  readonly texts: readonly string[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

class Helper implements MountHelper {
  readonly #program: string;
  readonly #directory: string;
  readonly #asked = new Map<number, Asked>();
  /** Folders that show some of the store's entries, by what they show; the one used last is last. */
  readonly #farms = new Map<string, { readonly folder: string; readonly size: number; ready: Promise<void> }>();
  #child: ChildProcessWithoutNullStreams | undefined;
  #number = 0;
  #received: Buffer = Buffer.alloc(0);

  constructor(program: string, directory: string) {
    this.#program = program;
    this.#directory = directory;
  }

  probe(): Promise<void> {
    return this.#ask(['probe']);
  }

  async bind({ pid, hostname, mounts, links }: BindRequest): Promise<void> {
    const farms = mounts.map((mount) => (mount.only ? this.#farm(mount, mount.only) : undefined));
    for (const farm of farms) if (farm) await farm.ready;
    await this.#ask([
      ...['bind', String(pid), hostname, links ? 'links' : '-'],
      ...mounts.flatMap(({ source, target, readOnly }, index) => {
        const farm = farms[index];
        return farm ? ['farm', farm.folder, target] : [readOnly ? 'ro' : 'rw', source, target];
      }),
    ]);
  }

  close(): void {
    this.#child?.stdin.end();
    this.#lost(new BerthError('POOL_UNAVAILABLE', 'The daemon is leaving.'));
  }

  /** @returns the folder that shows some of the source's entries, made once for all berths that have the same */
  #farm({ source }: Mount, only: readonly string[]) {
    const key = digestOf([source, ...only].join('\0')).slice('sha256:'.length, 'sha256:'.length + 32);
    const known = this.#farms.get(key);
    if (known) {
      this.#farms.delete(key);
      this.#farms.set(key, known);
      return known;
    }
    const folder = `${this.#directory}/${key}`;
    const farm = { folder, size: only.length, ready: this.#ask(['farm', folder, source, ...only]) };
    this.#farms.set(key, farm);
    farm.ready.catch(() => this.#farms.delete(key));
    this.#dropFarms();
    return farm;
  }

  /** Berths that have a farm keep their copy of it. */
  #dropFarms(): void {
    let mounts = [...this.#farms.values()].reduce((sum, { size }) => sum + size, 0);
    for (const [key, { folder, size }] of this.#farms) {
      if (mounts <= maxFarmMounts || this.#farms.size === 1) return;
      this.#farms.delete(key);
      mounts -= size;
      this.#ask(['drop', folder]).catch(() => undefined);
    }
  }

  #ask(texts: readonly string[]): Promise<void> {
    const child = (this.#child ??= this.#start());
    this.#number = (this.#number + 1) >>> 0;
    const number = this.#number;
    const body = Buffer.from(texts.map((text) => `${text}\0`).join(''), 'utf8');
    const header = Buffer.alloc(8);
    header.writeUInt32LE(body.length + 4, 0);
    header.writeUInt32LE(number, 4);
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#asked.delete(number);
        reject(new BerthError('LAUNCH_FAILED', `Folders could not be attached: ${this.#program} did not answer.`));
      };
      const timer = setTimeout(late, answerTimeoutMs).unref();
      this.#asked.set(number, { texts, resolve, reject, timer });
      this.#hold(child);
      child.stdin.write(Buffer.concat([header, body]));
    });
  }

  #start(): ChildProcessWithoutNullStreams {
    const child = spawn(this.#program, [], { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => undefined);
    child.stderr.resume();
    child.stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
    const lost = (why: string, cause?: unknown) => {
      if (this.#child !== child) return;
      this.#lost(new BerthError('POOL_UNAVAILABLE', `Folders cannot be attached: ${why}.`, { cause }));
    };
    child.on('error', (error) => lost(`${this.#program} does not start (${error.message})`, error));
    child.on('exit', () => lost(`${this.#program} ended`));
    return child;
  }

  /** The helper alone does not keep this process alive; a question does. */
  #hold(child: ChildProcessWithoutNullStreams): void {
    const parts = [child, child.stdin, child.stdout, child.stderr] as unknown as { ref(): void; unref(): void }[];
    for (const part of parts)
      if (this.#asked.size > 0) part.ref();
      else part.unref();
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= answerBytes) {
      const number = this.#received.readUInt32LE(0);
      const result = this.#received.readInt32LE(4);
      const at = this.#received.readUInt32LE(8);
      this.#received = this.#received.subarray(answerBytes);
      const asked = this.#asked.get(number);
      if (!asked) continue;
      this.#asked.delete(number);
      clearTimeout(asked.timer);
      if (result === 0) asked.resolve();
      else asked.reject(refused(asked.texts, result, at));
    }
    if (this.#child && this.#asked.size === 0) this.#hold(this.#child);
  }

  /** The next question starts another. */
  #lost(error: BerthError): void {
    this.#child = undefined;
    this.#received = Buffer.alloc(0);
    this.#farms.clear();
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#asked.clear();
  }
}

function refused(texts: readonly string[], result: number, at: number): BerthError {
  const name = getSystemErrorName(result);
  if (texts[0] === 'probe') {
    const why = name === 'ENOSYS' ? 'needs Linux 5.12' : 'needs root with CAP_SYS_ADMIN';
    return new BerthError('POOL_UNAVAILABLE', `Folders cannot be attached to running containers: ${name}, it ${why}.`);
  }
  return new BerthError('LAUNCH_FAILED', `The kernel did not attach ${texts[at] ?? 'a folder'}: ${name}.`, {
    details: { verb: texts[0], errno: name },
  });
}
