/** A token server for a registry (distribution, "Token Authentication Specification"): ES256, a certificate of its own. */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TokenServer {
  readonly realm: string;
  readonly service: string;
  /** In PEM: what the registry trusts. */
  readonly certificate: string;
  /** Scopes that were asked for, one a question. */
  readonly asked: string[][];
  close(): Promise<void>;
}

/** @param user `NAME:PASSWORD`, who may all; everybody else may pull from `public/…` */
export async function startTokenServer(user: string, lifeSeconds = 60): Promise<TokenServer> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-token-'));
  const file = (name: string) => join(folder, name);
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=berth-test', '-keyout', file('key'), '-out', file('certificate')],
    ],
    { stdio: 'pipe' },
  );
  const key = createPrivateKey(readFileSync(file('key')));
  const certificate = readFileSync(file('certificate'), 'utf8');
  rmSync(folder, { recursive: true });
  const header = { typ: 'JWT', alg: 'ES256', x5c: [new X509Certificate(certificate).raw.toString('base64')] };
  const asked: string[][] = [];
  const service = 'test-registry';

  const tokenFor = (scopes: readonly string[], known: boolean) => {
    const now = Math.floor(Date.now() / 1000);
    const access = scopes.flatMap((scope) => {
      const [type, name = '', actions = ''] = scope.split(':');
      const allowed = known || name.startsWith('public/') ? actions.split(',') : [];
      return [{ type, name, actions: known ? allowed : allowed.filter((action) => action === 'pull') }];
    });
    const claims = {
      iss: 'berth-test',
      sub: 'test',
      aud: service,
      iat: now,
      nbf: now - 5,
      exp: now + lifeSeconds + 60,
    };
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${encode(header)}.${encode({ ...claims, jti: randomUUID(), access })}`;
    const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };
  const server = createServer((request, response) => {
    const scopes = new URL(request.url ?? '', 'http://token').searchParams.getAll('scope');
    asked.push(scopes);
    const sent = Buffer.from(request.headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString();
    if (sent !== '' && sent !== user) {
      response.writeHead(401, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}');
      return;
    }
    response.end(JSON.stringify({ token: tokenFor(scopes, sent === user), expires_in: lifeSeconds }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    service,
    certificate,
    asked,
    close: async () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
