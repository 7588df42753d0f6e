/** Debian's docker-registry on loopback: a registry that Berth has no part in, with a login where one is asked for. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findOnPath } from '../../src/daemon/settings.ts';
import { until } from './until.ts';

export interface DockerRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  stop(): Promise<void>;
}

export type RegistryLogin =
  /** Lines of an htpasswd file, passwords in bcrypt. */
  | { readonly htpasswd: string }
  | { readonly token: { readonly realm: string; readonly service: string; readonly certificate: string } };

/** Why there is none, for the name of a skipped test; undefined where there is one. */
export const noDockerRegistry: string | undefined =
  findOnPath('docker-registry') === undefined ? 'docker-registry is not installed' : undefined;

export async function startDockerRegistry(login?: RegistryLogin): Promise<DockerRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-registry-'));
  const port = await freePort();
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, secret: 'of a test' },
    ...(login ? { auth: authOf(login, folder) } : {}),
  };
  // JSON is YAML too.
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(config));
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (piece: Buffer) => (said = (said + piece.toString()).slice(-4000)));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const host = `127.0.0.1:${port}`;
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`docker-registry does not start: ${said}`);
    return fetch(`http://${host}/v2/`).then(
      () => true,
      () => false,
    );
  });
  return {
    host,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function authOf(login: RegistryLogin, folder: string) {
  if ('htpasswd' in login) {
    writeFileSync(join(folder, 'htpasswd'), login.htpasswd);
    return { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } };
  }
  writeFileSync(join(folder, 'issuer.pem'), login.token.certificate);
  const { realm, service } = login.token;
  return { token: { realm, service, issuer: 'berth-test', rootcertbundle: join(folder, 'issuer.pem') } };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
