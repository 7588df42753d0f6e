/**
 * Packs layers by gzip or zstd so that the same input gives the same bytes on every machine. Node's own zlib does not:
 * its output differs between processors and versions. So the code that packs is JavaScript and WebAssembly of pinned
 * versions (docs/decisions/0020), and runs on worker threads: input is cut into frames of a fixed size, each packed by
 * itself (both formats allow frames one after the other), so that one layer uses all cores and little memory.
 */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { BerthError } from '../../core/errors.ts';
import type { Compression } from '../media-types.ts';

/** Bytes of input to a frame. Part of what decides a layer's digest: see layerWriterVersion. */
export const frameSize = 1024 * 1024;
/** The levels are the best of the quick ones: a step more costs a third of the speed for 2 % of the size. */
const levels = { gzip: 6, zstd: 3 } as const;

/** The program of a worker. Text, because a bundle has no file that a worker could be started from. */
const workerProgram = `
const { parentPort, workerData } = require('node:worker_threads');
const packers = {
  gzip: async () => {
    const { gzipSync } = await import(workerData.fflate);
    return (frame) => gzipSync(frame, { level: workerData.levels.gzip, mtime: 0 });
  },
  zstd: async () => {
    const { Zstd } = await import(workerData.zstd);
    const zstd = await Zstd.load();
    return (frame) => zstd.compress(frame, workerData.levels.zstd);
  },
};
const loaded = {};
parentPort.on('message', async ({ id, format, frame }) => {
  try {
    const pack = await (loaded[format] ??= packers[format]());
    const result = pack(frame);
    // What is a part of a larger buffer, as of WebAssembly's memory, cannot be handed over; a copy can.
    const packed = result.byteLength === result.buffer.byteLength ? result : result.slice();
    parentPort.postMessage({ id, packed, frame }, [packed.buffer, frame.buffer]);
  } catch (error) {
    parentPort.postMessage({ id, failure: String(error) });
  }
});
`;

interface Reply {
  readonly id: number;
  readonly packed?: Uint8Array;
  /** The input's buffer, given back to be filled again. */
  readonly frame?: Uint8Array<ArrayBuffer>;
  readonly failure?: string;
}

interface Waiting {
  readonly resolve: (packed: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** A few worker threads that pack frames; they start with the first frame and do not keep the process alive. */
export class Compressor {
  readonly #size: number;
  readonly #workers: { readonly worker: Worker; readonly waiting: Map<number, Waiting> }[] = [];
  /** Buffers of whole frames that are free again: else each would wait for a garbage collection in some thread. */
  readonly #free: ArrayBuffer[] = [];
  #nextId = 0;

  /** @param workers how many threads at most, of 40 MB each; two when absent, which keeps a process below 200 MB */
  constructor(workers: number = Math.min(2, availableParallelism())) {
    this.#size = Math.max(1, workers);
  }

  /**
   * @returns the packed stream, in order. As many frames are under way as there are workers, and one more.
   * @throws BerthError INTERNAL when a worker fails
   */
  async *compress(
    input: AsyncIterable<Uint8Array>,
    format: Exclude<Compression, 'none'>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const underWay: Promise<Uint8Array>[] = [];
    for await (const frame of framesOf(input, () => this.#free.pop() ?? new ArrayBuffer(frameSize))) {
      const packed = this.#pack(frame, format);
      // It is awaited in its turn; a failure before that must not count as unhandled.
      packed.catch(() => undefined);
      underWay.push(packed);
      const first = underWay.length > this.#size ? underWay.shift() : undefined;
      if (first) yield await first;
    }
    for (const packed of underWay) yield await packed;
  }

  /** Ends the worker threads. Work under way fails. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.splice(0).map(async ({ worker }) => worker.terminate()));
  }

  async #pack(frame: Uint8Array<ArrayBuffer>, format: Exclude<Compression, 'none'>): Promise<Uint8Array> {
    const { worker, waiting } = this.#leastBusy();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      worker.ref();
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, format, frame }, [frame.buffer]);
    });
  }

  #leastBusy() {
    const idle = this.#workers.find(({ waiting }) => waiting.size === 0);
    if (idle) return idle;
    if (this.#workers.length < this.#size) return this.#start();
    return this.#workers.reduce((best, other) => (other.waiting.size < best.waiting.size ? other : best));
  }

  #start() {
    const { resolve } = createRequire(import.meta.url);
    const worker = new Worker(workerProgram, {
      eval: true,
      // A frame's own buffers are outside of this: a small heap is collected often, which keeps memory small.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 },
      workerData: {
        levels,
        fflate: pathToFileURL(resolve('fflate')).href,
        zstd: pathToFileURL(resolve('@hpcc-js/wasm-zstd')).href,
      },
    });
    const waiting = new Map<number, Waiting>();
    const started = { worker, waiting };
    const fail = (reason: string) => {
      const at = this.#workers.indexOf(started);
      if (at !== -1) this.#workers.splice(at, 1);
      for (const { reject } of waiting.values()) {
        reject(new BerthError('INTERNAL', `A layer could not be compressed: ${reason}.`));
      }
      waiting.clear();
    };
    worker.on('message', ({ id, packed, frame, failure }: Reply) => {
      if (frame && this.#free.length <= this.#size) this.#free.push(frame.buffer);
      const one = waiting.get(id);
      waiting.delete(id);
      if (waiting.size === 0) worker.unref();
      if (packed) one?.resolve(packed);
      else one?.reject(new BerthError('INTERNAL', `A layer could not be compressed: ${failure ?? 'no reason'}.`));
    });
    worker.on('error', (error) => fail(String(error)));
    worker.on('exit', () => fail('the worker ended'));
    worker.unref();
    this.#workers.push(started);
    return started;
  }
}

/** Cuts a stream into pieces of exactly frameSize and a last one; at least one, since an empty file has a frame too. */
async function* framesOf(
  input: AsyncIterable<Uint8Array>,
  buffer: () => ArrayBuffer,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let frame = new Uint8Array(buffer());
  let filled = 0;
  let frames = 0;
  for await (const piece of input) {
    for (let from = 0; from < piece.length;) {
      const count = Math.min(piece.length - from, frameSize - filled);
      frame.set(piece.subarray(from, from + count), filled);
      filled += count;
      from += count;
      if (filled === frameSize) {
        yield frame;
        frames += 1;
        frame = new Uint8Array(buffer());
        filled = 0;
      }
    }
  }
  if (filled > 0 || frames === 0) yield frame.subarray(0, filled);
}
