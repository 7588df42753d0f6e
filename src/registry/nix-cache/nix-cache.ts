/**
 * The store as a Nix binary cache over HTTP (Nix manual, "HTTP Binary Cache Store"): another host's Nix or Berth takes
 * paths from it and, where it may, puts some in. Request in, Response out.
 *
 *   GET  /nix-cache-info      GET /HASH.narinfo     GET /nar/HASH-NARHASH.nar[.zst]
 *   GET  /public-key          PUT /HASH.narinfo     PUT /nar/FILE
 */
import { Readable } from 'node:stream';
import { asBerthError, BerthError } from '../../core/errors.ts';
import { isHashPart, type PathInfo } from '../../nix/path-info.ts';
import { narOf } from './nar.ts';
import { formatNarinfo, narNameOf, type NarCompression } from './narinfo.ts';
import type { SigningKey } from './signing-key.ts';
import type { Uploads } from './uploads.ts';

export interface NixCacheOptions {
  /** The folder on this host that holds the store paths. */
  readonly physicalStore: string;
  readonly pathInfo: (hashPart: string) => Promise<PathInfo | undefined>;
  /** Signs what is served; asked for once, when first needed. */
  readonly signingKey: () => Promise<SigningKey>;
  readonly compression: NarCompression;
  readonly compress: (nar: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  /** Absent: nothing can be uploaded. */
  readonly uploads?: Uploads;
  /** Less is asked first; cache.nixos.org has 40. */
  readonly priority?: number;
  /** Below which path the cache lies, without a slash at its end. */
  readonly basePath: string;
}

export interface NixCache {
  /** @returns the answer; faults of the request are answers too */
  fetch(request: Request): Promise<Response>;
}

export function createNixCache(options: NixCacheOptions): NixCache {
  let key: Promise<SigningKey> | undefined;
  const signingKey = () => (key ??= options.signingKey());

  async function get(path: string, signal: AbortSignal): Promise<Response> {
    if (path === 'nix-cache-info') {
      const priority = options.priority ?? 30;
      return plain(`StoreDir: /nix/store\nWantMassQuery: 1\nPriority: ${priority}\n`, 'text/x-nix-cache-info');
    }
    if (path === 'public-key') return plain(`${(await signingKey()).publicKey}\n`, 'text/plain');
    const hashPart = /^([0-9a-z]{32})\.narinfo$/.exec(path)?.[1];
    if (hashPart !== undefined && isHashPart(hashPart)) {
      const info = await options.pathInfo(hashPart);
      if (!info) return notFound();
      return plain(formatNarinfo(info, options.compression, await signingKey()), 'text/x-nix-narinfo');
    }
    return nar(path, signal);
  }

  async function nar(path: string, signal: AbortSignal): Promise<Response> {
    const hashPart = /^nar\/([0-9a-z]{32})-[0-9a-z]{52}\.nar(?:\.zst)?$/.exec(path)?.[1];
    if (hashPart === undefined) {
      const upload = /^nar\/([0-9A-Za-z][0-9A-Za-z._-]*)$/.exec(path)?.[1];
      const waits = upload !== undefined && (await options.uploads?.hasNar(upload));
      // Only for a client that asks, before an upload, whether it is needed.
      return waits ? new Response(null, { status: 204 }) : notFound();
    }
    const info = await options.pathInfo(hashPart);
    const compression = path.endsWith('.zst') ? 'zstd' : 'none';
    // The hash is in the name, so that a client never gets other bytes than its narinfo told.
    if (!info || narNameOf(info, compression) !== path) return notFound();
    const content = narOf(options.physicalStore, info.path, signal);
    const packed = compression === 'zstd' ? options.compress(content) : content;
    return new Response(Readable.toWeb(Readable.from(packed, { objectMode: false })) as ReadableStream, {
      headers: {
        'content-type': 'application/x-nix-nar',
        ...(compression === 'none' ? { 'content-length': String(info.narSize) } : {}),
      },
    });
  }

  async function put(path: string, request: Request): Promise<Response> {
    const { uploads } = options;
    if (!uploads) throw new BerthError('REQUEST_INVALID', 'Nothing can be uploaded to this binary cache.');
    if (path === 'nix-cache-info') return new Response(null, { status: 204 });
    const narFile = /^nar\/([0-9A-Za-z][0-9A-Za-z._-]*)$/.exec(path)?.[1];
    if (narFile !== undefined && request.body) {
      await uploads.putNar(narFile, request.body, request.signal);
      return new Response(null, { status: 201 });
    }
    const hashPart = /^([0-9a-z]{32})\.narinfo$/.exec(path)?.[1];
    if (hashPart === undefined || !isHashPart(hashPart)) {
      throw new BerthError('REQUEST_INVALID', `A Nix binary cache has no place for \`${path}\`.`);
    }
    await uploads.putNarinfo(hashPart, await request.text(), request.signal);
    return new Response(null, { status: 201 });
  }

  return {
    async fetch(request) {
      try {
        return await answer(request);
      } catch (error) {
        // Text, since it is Nix that shows it.
        const { code, message, hint, fault } = asBerthError(error).report();
        const status = code === 'REQUEST_INVALID' ? 400 : fault === 'user' ? 422 : 500;
        return plain(`${message}${hint ? ` ${hint}` : ''}\n`, 'text/plain', status);
      }
    },
  };

  async function answer(request: Request): Promise<Response> {
    const path = decodeURIComponent(new URL(request.url).pathname).slice(options.basePath.length + 1);
    switch (request.method) {
      case 'GET':
        return get(path, request.signal);
      case 'HEAD': {
        const { status, headers, body } = await get(path, request.signal);
        await body?.cancel();
        return new Response(null, { status, headers });
      }
      case 'PUT':
        return put(path, request);
      default:
        return new Response(null, { status: 405, headers: { allow: 'GET, HEAD, PUT' } });
    }
  }
}

function plain(text: string, type: string, status = 200): Response {
  return new Response(text, { status, headers: { 'content-type': type } });
}

function notFound(): Response {
  return new Response('404\n', { status: 404, headers: { 'content-type': 'text/plain' } });
}
