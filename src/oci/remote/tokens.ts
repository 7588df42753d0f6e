/**
 * What is sent as `Authorization`: Basic, or a token that the registry's token server gives for scopes
 * (distribution, "Token Authentication Specification" and "OAuth2 Token Authentication"). Tokens are kept by scope until
 * shortly before they expire.
 */
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { SingleFlight } from '../../core/single-flight.ts';
import type { Challenge } from './challenge.ts';
import type { Credential, Credentials } from './credentials.ts';
import { isLoopback } from './reference.ts';
import { errorOfAnswer } from './registry-errors.ts';

export interface Tokens {
  /**
   * @param scopes what the request needs: `repository:NAME:pull,push`
   * @returns the header's value; undefined where the registry has not asked for one
   * @throws BerthError REGISTRY_DENIED, REGISTRY_UNREACHABLE, CREDENTIALS_UNREADABLE
   */
  headerFor(registry: string, scopes: readonly string[], signal?: AbortSignal): Promise<string | undefined>;
  /** Takes note of what the registry asks for, and forgets the token that it did not take. */
  challenged(registry: string, scopes: readonly string[], challenges: readonly Challenge[]): void;
}

export interface TokensOptions {
  readonly credentials: Credentials;
  /** Asks a token server; tries again by itself. */
  readonly ask: (url: string, init: RequestInit, registry: string) => Promise<Response>;
  readonly now: () => number;
}

interface Token {
  readonly header: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

const replySchema = z.looseObject({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().positive().optional(),
});

/** The specification's, for a server that does not say. */
const defaultLifeSeconds = 60;
/** Not used in the last fifth of its life: a request must end before its token does. */
const usableShare = 0.8;

export function createTokens(options: TokensOptions): Tokens {
  const challenges = new Map<string, Challenge>();
  const tokens = new Map<string, Token>();
  const flights = new SingleFlight<string, Token>();
  const keyOf = (registry: string, scopes: readonly string[]) => `${registry} ${[...scopes].sort().join(' ')}`;

  return {
    async headerFor(registry, scopes, signal) {
      const challenge = challenges.get(registry);
      if (!challenge) return undefined;
      const key = keyOf(registry, scopes);
      const known = tokens.get(key);
      if (known && known.until > options.now()) return known.header;
      const { value } = await flights.run(
        key,
        async (flightSignal) => {
          const credential = await options.credentials(registry, flightSignal);
          const token = await fetchToken(registry, challenge, scopes, credential, options, flightSignal);
          tokens.set(key, token);
          return token;
        },
        signal,
      );
      return value.header;
    },
    challenged(registry, scopes, offered) {
      tokens.delete(keyOf(registry, scopes));
      const chosen = ['bearer', 'basic']
        .map((scheme) => offered.find((challenge) => challenge.scheme === scheme))
        .find((challenge) => challenge !== undefined);
      if (chosen) challenges.set(registry, chosen);
    },
  };
}

async function fetchToken(
  registry: string,
  challenge: Challenge,
  scopes: readonly string[],
  credential: Credential | undefined,
  options: TokensOptions,
  signal: AbortSignal,
): Promise<Token> {
  const forEver = (header: string): Token => ({ header, until: Infinity });
  if (credential?.kind === 'bearer') return forEver(`Bearer ${credential.token}`);
  if (challenge.scheme === 'basic') {
    if (credential?.kind !== 'password') throw noCredentials(registry);
    return forEver(basicOf(credential));
  }
  const realm = realmOf(registry, challenge);
  const { service } = challenge.parameters;
  const what = `a token for ${scopes.join(' ')}`;
  let response: Response;
  if (credential?.kind === 'identity') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'berth',
      ...(service === undefined ? {} : { service }),
      scope: scopes.join(' '),
      refresh_token: credential.token,
    });
    response = await options.ask(realm.href, { method: 'POST', body: form, signal }, registry);
  } else {
    if (service !== undefined) realm.searchParams.set('service', service);
    for (const scope of scopes) realm.searchParams.append('scope', scope);
    if (credential) realm.searchParams.set('account', credential.username);
    const headers: Record<string, string> = credential ? { authorization: basicOf(credential) } : {};
    response = await options.ask(realm.href, { headers, signal }, registry);
  }
  if (!response.ok) throw await errorOfAnswer(response, realm.host, what);
  const reply = replySchema.safeParse(await response.json().catch(() => undefined));
  const token = reply.data?.token ?? reply.data?.access_token;
  if (!token) throw new BerthError('REGISTRY_REFUSED', `${realm.host} did not answer with ${what}.`);
  const life = (reply.data?.expires_in ?? defaultLifeSeconds) * 1000;
  return { header: `Bearer ${token}`, until: options.now() + life * usableShare };
}

/** A registry must not lead credentials over the network in the clear. */
function realmOf(registry: string, challenge: Challenge): URL {
  const { realm } = challenge.parameters;
  const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.host) && isLoopback(registry)))
    return url;
  throw new BerthError(
    'REGISTRY_REFUSED',
    `${registry} names no token server that can be asked safely: \`${realm ?? ''}\`.`,
  );
}

function basicOf(credential: Extract<Credential, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

function noCredentials(registry: string): BerthError {
  return new BerthError('REGISTRY_DENIED', `${registry} wants a user and a password, and there are none for it.`, {
    hint: `Log in with \`docker login ${registry}\`.`,
  });
}
