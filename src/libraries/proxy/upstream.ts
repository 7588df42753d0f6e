/** The registries themselves: where downloads come from, with the credentials that only the daemon knows. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '../../core/errors.ts';
import type { Credentials } from './credentials.ts';

export interface Upstream {
  /**
   * @param label the package, for errors
   * @returns the file's bytes as they come
   * @throws BerthError REGISTRY_UNREACHABLE, REGISTRY_DENIED, LIBRARY_DOWNLOAD_FAILED
   */
  open(url: string, label: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /** @returns a small page, whatever its status */
  page(url: string, signal: AbortSignal): Promise<{ status: number; body: Uint8Array }>;
}

export interface UpstreamOptions {
  readonly credentials?: Credentials;
  /** Other places to ask in a registry's stead: a prefix of URLs to what replaces it. */
  readonly mirrors?: Readonly<Record<string, string>>;
  readonly fetch?: typeof fetch;
}

const attempts = 4;
const maxPageBytes = 64 * 1024 * 1024;

export function createUpstream(options: UpstreamOptions = {}): Upstream {
  const doFetch = options.fetch ?? fetch;

  async function ask(url: string, signal: AbortSignal): Promise<Response> {
    const target = new URL(mirrored(url, options.mirrors ?? {}));
    const authorization = await options.credentials?.(target);
    let problem: unknown;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      try {
        const response = await doFetch(target, {
          signal,
          headers: { 'accept-encoding': 'identity', ...(authorization ? { authorization } : {}) },
        });
        if (response.status !== 429 && response.status < 500) return response;
        problem = `it answered ${response.status}`;
        await response.body?.cancel();
      } catch (error) {
        if (signal.aborted) throw new BerthError('CANCELLED', 'The download was cancelled.');
        problem = error;
      }
      if (attempt < attempts) await sleep(250 * 4 ** (attempt - 1), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw new BerthError('CANCELLED', 'The download was cancelled.');
    }
    throw new BerthError('REGISTRY_UNREACHABLE', `${target.host} cannot be reached.`, {
      cause: problem,
      details: { url: withoutSecrets(target) },
    });
  }

  return {
    async open(url, label, signal) {
      const response = await ask(url, signal);
      if (response.ok && response.body) return response.body;
      await response.body?.cancel();
      const { host } = new URL(url);
      const details = { url: withoutSecrets(new URL(url)), status: response.status };
      if (response.status === 401 || response.status === 403) {
        throw new BerthError('REGISTRY_DENIED', `${host} does not give out ${label}: it answered ${response.status}.`, {
          details,
        });
      }
      throw new BerthError(
        'LIBRARY_DOWNLOAD_FAILED',
        `${host} does not have ${label}: it answered ${response.status}.`,
        {
          details,
        },
      );
    },
    async page(url, signal) {
      const response = await ask(url, signal);
      const body = new Uint8Array(await response.arrayBuffer());
      if (body.length > maxPageBytes) {
        throw new BerthError('LIBRARY_DOWNLOAD_FAILED', `The index page ${url} has more than 64 MiB.`);
      }
      return { status: response.status, body };
    },
  };
}

function mirrored(url: string, mirrors: Readonly<Record<string, string>>): string {
  const [prefix, replacement] = Object.entries(mirrors).find(([from]) => url.startsWith(from)) ?? [];
  return prefix !== undefined && replacement !== undefined ? replacement + url.slice(prefix.length) : url;
}

function withoutSecrets(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
