/** Who may call over TCP: a wrapper of the API with the same interface. The unix socket needs none; its mode guards it. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { BerthError } from '../core/errors.ts';
import { isLoopback, type Fetch } from './listen.ts';

export interface AuthenticationPolicy {
  /** null: client certificates or `noAuth` guard instead. */
  readonly token: string | null;
  /** Only requests to a loopback name are answered, so that no web page reaches the API by a name of its own. */
  readonly loopbackOnly: boolean;
}

/** Answered without a token, for load balancers and orchestrators. */
const open = new Set(['/healthz', '/readyz']);

/** @returns the API, answering only those who may call */
export function authenticated(fetch: Fetch, policy: AuthenticationPolicy): Fetch {
  return (request) => {
    const refusal = refusalOf(request, policy);
    return refusal ? answer(request, refusal) : fetch(request);
  };
}

/** Clients of registries ask for a user and password when they are told to, and show errors of their own form. */
function answer(request: Request, refusal: BerthError): Response {
  const { pathname } = new URL(request.url);
  if (pathname !== '/v2' && !pathname.startsWith('/v2/')) {
    return Response.json({ error: refusal.report() }, { status: 401 });
  }
  return Response.json(
    { errors: [{ code: 'UNAUTHORIZED', message: refusal.message }] },
    { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="Berth"' } },
  );
}

function refusalOf(request: Request, policy: AuthenticationPolicy): BerthError | undefined {
  const url = new URL(request.url);
  // A web page can send requests to loopback; its browser says so by the Origin, and by the Host after DNS rebinding.
  if (policy.loopbackOnly && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))) {
    return new BerthError('UNAUTHORIZED', `Requests must be made to a loopback address, not to ${url.hostname}.`);
  }
  const origin = request.headers.get('origin');
  if (origin !== null && origin !== url.origin) {
    return new BerthError('UNAUTHORIZED', `A web page of ${origin} may not use this API.`);
  }
  if (policy.token === null || open.has(url.pathname)) return undefined;
  const sent = tokenOf(request.headers.get('authorization') ?? '');
  if (sent !== undefined && sameSecret(sent, policy.token)) return undefined;
  return new BerthError(
    'UNAUTHORIZED',
    sent === undefined ? 'The request has no token.' : 'The token is not the right one.',
  );
}

/** Clients of registries and binary caches send the token as a password, with any user name. */
function tokenOf(authorization: string): string | undefined {
  const [, scheme = '', value = ''] = /^(Bearer|Basic) (.+)$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() !== 'basic') return value === '' ? undefined : value;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : undefined;
}

/** Compares digests, so that neither the length nor the first wrong character shows in the time it takes. */
function sameSecret(a: string, b: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}
