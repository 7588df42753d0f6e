/** HTTP with a registry: scheme, login, patience with what is temporary, errors of the catalogue. */
import { sleep } from '../../core/clock.ts';
import { BerthError } from '../../core/errors.ts';
import { parseChallenges } from './challenge.ts';
import { anonymous, type Credentials } from './credentials.ts';
import { apiHostOf, isLoopback } from './reference.ts';
import { errorCodeOf, errorOfAnswer, unreachable } from './registry-errors.ts';
import { delayBefore, isTemporary, maxAttempts } from './retry.ts';
import { createTokens } from './tokens.ts';

export interface TransportOptions {
  /** Default: none. */
  readonly credentials?: Credentials;
  /** Registries (`HOST[:PORT]`) that are spoken to by plain HTTP besides those on loopback. */
  readonly insecure?: readonly string[];
  readonly userAgent?: string;
  /** Default: Node's. */
  readonly fetch?: typeof fetch;
  readonly now?: () => number;
  /** Waits between attempts. */
  readonly wait?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface RegistryRequest {
  readonly registry: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** A path below the registry, `/v2/…`, or a whole URL that the registry gave. */
  readonly path: string;
  /** What a token must allow: `repository:NAME:pull`. */
  readonly scopes: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes, or a stream, which is sent once: with one, a failure is thrown at once as it is. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Statuses that are no failure. Default: 200 to 299. */
  readonly accept?: readonly number[];
  /** Completes "REGISTRY refused …": `the manifest of debian:12`. */
  readonly what: string;
  readonly signal?: AbortSignal;
}

export interface Transport {
  /**
   * @returns the answer, whose body is the caller's to read or cancel
   * @throws BerthError REGISTRY_UNREACHABLE, REGISTRY_DENIED, IMAGE_NOT_FOUND, REGISTRY_REFUSED, CANCELLED
   */
  send(request: RegistryRequest): Promise<Response>;
  /** Waits before something is tried again. */
  wait(attempt: number, signal?: AbortSignal): Promise<void>;
}

/**
 * For a body that is a stream. With a window, or with redirects, fetch keeps a copy of all that it sends (fetch standard,
 * "HTTP-network-or-cache fetch"), which would hold a whole layer in memory.
 */
const streaming = { duplex: 'half', redirect: 'error', window: null } as const;
/** Nobody answers at the name: asking again at once does not help. */
const hopeless = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);
/** A server of plain HTTP, asked by TLS. */
const noTls = /SSL_WRONG_VERSION_NUMBER|SSL_PACKET_LENGTH_TOO_LONG|EPROTO|ECONNRESET|UND_ERR_SOCKET/;

export function createTransport(options: TransportOptions = {}): Transport {
  const send = options.fetch ?? fetch;
  const wait = options.wait ?? sleep;
  /** By registry: the scheme that it was found to speak. */
  const schemes = new Map<string, Promise<'http' | 'https'>>();
  const answered = new Set<string>();

  /** Tries until there is an answer that is not temporary. */
  const insist = async (
    request: {
      readonly registry: string;
      readonly what: string;
      readonly signal?: AbortSignal | null;
      readonly once: boolean;
    },
    fetchOnce: () => Promise<Response>,
  ): Promise<Response> => {
    const { registry, what, signal } = request;
    for (let attempt = 1; ; attempt += 1) {
      const last = request.once || attempt === maxAttempts;
      let retryAfter: string | null = null;
      try {
        const response = await fetchOnce();
        answered.add(registry);
        if (!isTemporary(response.status) || last) return response;
        retryAfter = response.headers.get('retry-after');
        await response.body?.cancel();
      } catch (error) {
        if (signal?.aborted)
          throw new BerthError('CANCELLED', `Speaking to ${registry} was cancelled.`, { cause: error });
        if (error instanceof BerthError) throw error;
        const firstContact = !answered.has(registry) && hopeless.has(errorCodeOf(error) ?? '');
        if (last || firstContact) throw unreachable(registry, what, error);
      }
      await wait(delayBefore(attempt, retryAfter), signal ?? undefined);
    }
  };

  const tokens = createTokens({
    credentials: options.credentials ?? anonymous,
    ask: (url, init, registry) =>
      insist(
        { registry: new URL(url).host, what: `a token for ${registry}`, signal: init.signal ?? null, once: false },
        () => send(url, init),
      ),
    now: options.now ?? Date.now,
  });

  /** Docker asks a registry that may be insecure by TLS first, then in the clear. */
  const findScheme = async (registry: string, signal?: AbortSignal): Promise<'http' | 'https'> => {
    if (!isLoopback(registry) && options.insecure?.includes(registry) !== true) return 'https';
    try {
      const response = await send(`https://${apiHostOf(registry)}/v2/`, signal ? { signal } : {});
      await response.body?.cancel();
      return 'https';
    } catch (error) {
      const code = `${errorCodeOf(error) ?? ''} ${error instanceof Error ? String(error.cause) : ''}`;
      if (noTls.test(code)) return 'http';
      throw error;
    }
  };
  const schemeOf = (registry: string, signal?: AbortSignal) => {
    const known = schemes.get(registry) ?? findScheme(registry, signal);
    schemes.set(registry, known);
    known.catch(() => schemes.delete(registry));
    return known;
  };

  const urlOf = async (request: RegistryRequest): Promise<string> => {
    if (/^https?:/.test(request.path)) return request.path;
    return `${await schemeOf(request.registry, request.signal)}://${apiHostOf(request.registry)}${request.path}`;
  };

  return {
    async send(request) {
      const { registry, scopes, signal, what } = request;
      const once = request.body !== undefined && !(request.body instanceof Uint8Array);
      for (let logins = 0; ; logins += 1) {
        const response = await insist({ registry, what, signal: signal ?? null, once }, async () => {
          const url = await urlOf(request);
          // A place elsewhere that the registry named, as for uploads, is given no token of the registry's.
          const authorization = sameHost(url, registry) ? await tokens.headerFor(registry, scopes, signal) : undefined;
          return send(url, {
            method: request.method,
            headers: {
              'user-agent': options.userAgent ?? 'berth',
              ...request.headers,
              ...(authorization === undefined ? {} : { authorization }),
            },
            ...(request.body === undefined ? {} : { body: request.body }),
            ...(once ? streaming : {}),
            ...(signal ? { signal } : {}),
          });
        });
        const challenge = response.headers.get('www-authenticate');
        // Twice: the first tells what is wanted, the second says that a kept token is no longer good.
        if (response.status === 401 && challenge !== null && logins < 2 && !once) {
          await response.body?.cancel();
          tokens.challenged(registry, scopes, parseChallenges(challenge));
          continue;
        }
        const accepted = request.accept ? request.accept.includes(response.status) : response.ok;
        if (accepted) return response;
        throw await errorOfAnswer(response, registry, what);
      }
    },
    wait: (attempt, signal) => wait(delayBefore(attempt, null), signal),
  };
}

function sameHost(url: string, registry: string): boolean {
  return (
    new URL(url).host === new URL(`https://${apiHostOf(registry)}`).host || new URL(url).host === apiHostOf(registry)
  );
}
