/**
 * Debian mirrors on a loopback port that keep what they once fetched: a bench reads them, so that no network is measured,
 * and counts what was downloaded. Berth checks signatures and hashes as from any mirror.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface MirrorCache {
  /** @returns the loopback URL that stands for an upstream's */
  urlOf(upstream: string): string;
  /** Bytes of bodies that were sent since the start. */
  readonly sentBytes: number;
  /** The part of them that was not there and came from upstream. */
  readonly fetchedBytes: number;
  close(): Promise<void>;
}

/** @param folder where downloads are kept, from run to run */
export async function startMirrorCache(folder: string): Promise<MirrorCache> {
  await mkdir(folder, { recursive: true });
  const upstreams: string[] = [];
  const flights = new Map<string, Promise<string | number>>();
  const counted = { sent: 0, fetched: 0 };

  /** @returns the file, or the status that upstream answered instead */
  const fetchFile = async (url: string): Promise<string | number> => {
    const file = join(folder, createHash('sha256').update(new URL(url).pathname).digest('hex'));
    if (await isThere(file)) return file;
    const response = await fetch(url);
    if (!response.ok || !response.body) return response.status;
    const draft = `${file}.${randomBytes(4).toString('hex')}.part`;
    try {
      await pipeline(Readable.fromWeb(response.body), createWriteStream(draft));
      counted.fetched += (await stat(draft)).size;
      await rename(draft, file);
    } finally {
      await rm(draft, { force: true });
    }
    return file;
  };
  const oneFlight = (url: string): Promise<string | number> => {
    const flight = flights.get(url) ?? fetchFile(url).finally(() => flights.delete(url));
    flights.set(url, flight);
    return flight;
  };
  const answer = async (path: string, method: string, response: ServerResponse): Promise<void> => {
    const [, number, rest] = /^\/(\d+)(\/.*)$/.exec(path) ?? [];
    const upstream = upstreams[Number(number)];
    const found = upstream === undefined || rest === undefined ? 404 : await oneFlight(upstream + rest);
    if (typeof found === 'number') {
      response.writeHead(found).end();
      return;
    }
    const { size } = await stat(found);
    response.writeHead(200, { 'content-length': size, 'content-type': 'application/octet-stream' });
    if (method === 'HEAD') {
      response.end();
      return;
    }
    counted.sent += size;
    await pipeline(createReadStream(found), response);
  };
  const server = createServer((request, response) => {
    answer(request.url ?? '/', request.method ?? 'GET', response).catch(() => {
      // The one who asked has gone, or upstream is away: a mirror's failure is told by its answer alone.
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    urlOf(upstream) {
      const url = upstream.replace(/\/+$/, '');
      if (!upstreams.includes(url)) upstreams.push(url);
      return `http://127.0.0.1:${port}/${upstreams.indexOf(url)}`;
    },
    get sentBytes() {
      return counted.sent;
    },
    get fetchedBytes() {
      return counted.fetched;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
