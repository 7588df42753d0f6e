/**
 * Pulls a 1 GB image from Berth's registry and from Debian's docker-registry (Go), each a process of its own that serves
 * the same blobs, in turns; then 50 pulls at once, with the registry's memory watched.
 *   npm run bench -- bench/registry-pull.ts [RUNS] [MEGABYTES]
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, type Digest } from '../src/core/digest.ts';
import { mediaTypes } from '../src/oci/media-types.ts';
import { startRegistry } from '../test/registry/registry-process.ts';
import { inTurns, series, writeResult } from './support/measure.ts';

const runs = Number(process.argv[2] ?? 5);
const megabytes = Number(process.argv[3] ?? 1000);
const layerCount = 8;
const layerBytes = Math.floor((megabytes * 1_000_000) / layerCount);
const parallel = 50;
const folder = mkdtempSync(join(tmpdir(), 'berth-bench-registry-'));

/** Bytes that do not compress, the same each time. */
function layer(index: number): Buffer {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, index + 1), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(layerBytes));
}

async function startDebians(): Promise<{ url: string; child: ChildProcess }> {
  const port = 20_000 + (process.pid % 20_000);
  const config = join(folder, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${folder}/debian}}\nhttp: {addr: 127.0.0.1:${port}}\n`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  for (;;) {
    const answers = await fetch(`${url}/v2/`).then(
      () => true,
      () => false,
    );
    if (answers) return { url, child };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function pushBlob(url: string, bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const started = await fetch(`${url}/v2/bench/blobs/uploads/`, { method: 'POST' });
  const place = new URL(started.headers.get('location') ?? '', url);
  place.searchParams.set('digest', digest);
  const response = await fetch(place, {
    method: 'PUT',
    body: bytes as never,
    headers: { 'Content-Type': 'application/octet-stream' },
  });
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
  return digest;
}

async function pushImage(url: string): Promise<void> {
  const layers = [];
  for (let index = 0; index < layerCount; index += 1) {
    layers.push({ mediaType: mediaTypes.layer, digest: await pushBlob(url, layer(index)), size: layerBytes });
  }
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: await pushBlob(url, config), size: config.length },
    layers,
  };
  const response = await fetch(`${url}/v2/bench/manifests/latest`, {
    method: 'PUT',
    body: JSON.stringify(manifest),
    headers: { 'Content-Type': mediaTypes.manifest },
  });
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
}

/** One connection to a blob, read and thrown away as fast as it comes: what is measured is the server. */
function drain(url: string, digest: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const curl = spawn('curl', ['-sS', '--fail', '-o', '/dev/null', `${url}/v2/bench/blobs/${digest}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    curl.once('error', reject);
    curl.once('exit', (code) => (code === 0 ? resolve(layerBytes) : reject(new Error(`curl exited with ${code}`))));
  });
}

async function layersOf(url: string): Promise<string[]> {
  const response = await fetch(`${url}/v2/bench/manifests/latest`, { headers: { Accept: mediaTypes.manifest } });
  const manifest = (await response.json()) as { layers: { digest: string }[] };
  return manifest.layers.map(({ digest }) => digest);
}

/** As Docker pulls: three layers at a time. */
async function pull(url: string): Promise<undefined> {
  const queue = await layersOf(url);
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await drain(url, next);
  };
  await Promise.all([worker(), worker(), worker()]);
  return undefined;
}

/** A pull that reads in this process, slowly enough that all are under way at once. */
function slowPull(url: string, digest: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(`${url}/v2/bench/blobs/${digest}`, { agent: false }, (response) => {
      response.on('error', reject);
      response.on('end', resolve);
      response.resume();
    }).on('error', reject);
  });
}

const rssOf = (child: ChildProcess): number => {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
};

async function withMemory(child: ChildProcess, work: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  const sampling = setInterval(() => samples.push(rssOf(child)), 100);
  await work();
  clearInterval(sampling);
  samples.push(rssOf(child));
  return samples;
}

const berth = await startRegistry(join(folder, 'berth'));
const debian = await startDebians();
try {
  await pushImage(berth.url);
  await pushImage(debian.url);
  const samples = await inTurns(runs, { berth: () => pull(berth.url), debian: () => pull(debian.url) });
  const layers = await layersOf(berth.url);
  const memory = await withMemory(berth.child, () =>
    Promise.all(Array.from({ length: parallel }, (_, index) => slowPull(berth.url, layers[index % layerCount] ?? ''))),
  );
  const debianMemory = await withMemory(debian.child, () =>
    Promise.all(Array.from({ length: parallel }, (_, index) => slowPull(debian.url, layers[index % layerCount] ?? ''))),
  );
  const one = series('a pull of the whole image from Berth, three layers at a time', 'ms', samples['berth'] ?? []);
  const other = series('the same from docker-registry', 'ms', samples['debian'] ?? []);
  const peak = Math.max(...memory);
  const half = memory.slice(0, Math.ceil(memory.length / 2));
  const growth = Math.max(...memory.slice(half.length)) / Math.max(...half);
  const round = (value: number) => Math.round(value * 100) / 100;
  const ratio = round(other.median / one.median);
  writeResult({
    bench: 'registry-pull',
    question: 'Is a pull from Berth at least as fast as from docker-registry, in little memory?',
    series: {
      berth: one,
      debian: other,
      memory: series(`Berth's resident memory during ${parallel} pulls at once`, 'bytes', memory),
      debianMemory: series(`docker-registry's, during the same`, 'bytes', debianMemory),
    },
    figures: {
      megabytes,
      berthMegabytesPerSecond: Math.round((megabytes * 1000) / one.median),
      debianMegabytesPerSecond: Math.round((megabytes * 1000) / other.median),
      speedOverDebian: ratio,
      peakMemoryMegabytes: Math.round(peak / 1e6),
      debianPeakMemoryMegabytes: Math.round(Math.max(...debianMemory) / 1e6),
      secondHalfOverFirst: round(growth),
    },
    bounds: [
      { what: 'throughput over docker-registry', bound: 'at least 1', met: ratio >= 1 },
      { what: 'resident memory over 50 parallel pulls', bound: 'under 300 MB', met: peak < 300e6 },
      { what: 'it stays flat: the second half over the first', bound: 'at most 1.2', met: growth <= 1.2 },
    ],
  });
} finally {
  await berth.kill();
  debian.child.kill();
  rmSync(folder, { recursive: true, force: true });
}
