/**
 * The only network that an install has: an HTTP proxy which answers for the registries' hosts (so it ends their TLS with
 * certificates of its own), and gives out what the lock file names, checked. Everything else is refused by a message that
 * names it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TLSSocket } from 'node:tls';
import { asBerthError, type BerthError } from '../../core/errors.ts';
import type { LockedArtifact } from '../library.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import { readDownload, type DownloadCache } from './download-cache.ts';

export interface ProxyOptions {
  readonly authority: CertificateAuthority;
  readonly cache: DownloadCache;
  readonly artifacts: readonly LockedArtifact[];
  /** See LibraryPlan.pages. */
  readonly pages: Readonly<Record<string, string>>;
  /** Asks upstream for all else, whatever its host, where a registry's client still finds out what there is. */
  readonly forward?: (url: string, accept: string | undefined, signal: AbortSignal) => Promise<Response>;
  /** Called for each artifact that was given out the first time. */
  readonly onArtifact?: (
    artifact: LockedArtifact,
    download: { readonly size: number; readonly cached: boolean },
  ) => void;
}

export interface Proxy {
  /** Begins to serve on a server that listens in the sandbox's network. */
  serve(listening: Server): void;
  /** What went wrong first, if anything: the manager's own message says less. */
  readonly failure: BerthError | undefined;
  close(): void;
}

/** What a client reads of an answer that is passed on. */
const forwarded = ['content-type', 'etag', 'last-modified', 'cache-control', 'location'];

export function createProxy(options: ProxyOptions): Proxy {
  const { authority, cache } = options;
  const artifacts = new Map(options.artifacts.map((artifact) => [artifact.url, artifact]));
  const hosts = new Set([...artifacts.keys(), ...Object.keys(options.pages)].map((url) => new URL(url).host));
  const given = new Set<LockedArtifact>();
  const ending = new AbortController();
  const sockets = new Set<Socket>();
  let failure: BerthError | undefined;

  async function answer(url: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      refuse(response, 405, 'Only GET is answered here.');
      return;
    }
    const artifact = artifacts.get(withoutFragment(url));
    if (artifact) {
      const download = await cache.artifact(artifact, ending.signal);
      if (!given.has(artifact)) options.onArtifact?.(artifact, download);
      given.add(artifact);
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': download.size });
      if (request.method === 'HEAD') response.end();
      else await pipeline(readDownload(download), response);
      return;
    }
    const page = Object.hasOwn(options.pages, url) ? options.pages[url] : undefined;
    if (page !== undefined) {
      response.writeHead(200, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(page) });
      response.end(request.method === 'HEAD' ? undefined : page);
      return;
    }
    if (options.forward) {
      const answered = await options.forward(url, request.headers.accept, ending.signal);
      const headers = [...answered.headers].filter(([name]) => forwarded.includes(name));
      response.writeHead(answered.status, Object.fromEntries(headers));
      if (request.method === 'HEAD' || !answered.body) response.end();
      else await pipeline(Readable.fromWeb(answered.body as never), response);
      return;
    }
    refuse(response, 403, `Berth: ${url} is not in the lock file, so it is not given out.`);
  }

  const handle = (origin: string) => (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', origin).href;
    answer(url, request, response).catch((error: unknown) => {
      const known = asBerthError(error);
      if (known.code !== 'CANCELLED') failure ??= known;
      if (response.headersSent) response.destroy();
      else refuse(response, 502, `Berth: ${known.message}`);
    });
  };

  /** The server behind the TLS of one host. */
  const behindTls = new Map<string, ReturnType<typeof createServer>>();
  async function connect(host: string, socket: Socket): Promise<void> {
    if (!options.forward && !hosts.has(host.replace(/:443$/, ''))) {
      socket.end(`HTTP/1.1 403 Forbidden\r\n\r\nBerth: nothing of ${host} is in the lock file.\n`);
      return;
    }
    const name = host.replace(/:\d+$/, '');
    const secureContext = await authority.contextFor(name);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    const inner = behindTls.get(host) ?? createServer(handle(`https://${host.replace(/:443$/, '')}`));
    behindTls.set(host, inner);
    const secured = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['http/1.1'] });
    secured.on('error', () => socket.destroy());
    inner.emit('connection', secured);
  }

  const outer = createServer((request, response) => {
    // A plain proxy request names the whole URL.
    if (/^http:\/\//.test(request.url ?? '')) handle('http://unused')(request, response);
    else refuse(response, 400, 'This is a proxy.');
  });
  outer.on('connect', (request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => socket.destroy());
    connect(request.url ?? '', socket).catch((error: unknown) => {
      failure ??= asBerthError(error);
      socket.destroy();
    });
  });

  return {
    serve(listening) {
      listening.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket));
        outer.emit('connection', socket);
      });
    },
    get failure() {
      return failure;
    },
    close() {
      ending.abort();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' });
  response.end(`${message}\n`);
}

function withoutFragment(url: string): string {
  const at = url.indexOf('#');
  return at === -1 ? url : url.slice(0, at);
}
