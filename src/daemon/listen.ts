/** Serves the API: on the unix socket, which is its owner's, and on TCP where it can be told who calls. */
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { dirname } from 'node:path';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { nodeListener } from '../registry/node-listener.ts';
import type { Settings } from './settings.ts';

export type Fetch = (request: Request) => Response | Promise<Response>;

/** A push of a large layer takes as long as it takes; the registry notices clients that fall silent. */
const timeouts = { requestTimeout: 0 };

export interface Listener {
  /** Where it listens, for people. */
  readonly address: string;
  /** Takes no new connection, waits for the answers under way, and ends what is open after the grace time. */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves on a unix socket of mode 0600 in a folder of mode 0700. A socket file that is left there is replaced: the
 * caller holds the lock, so that no living daemon has it.
 * @throws BerthError LISTEN_REFUSED when the folder is another user's
 */
export async function listenOnSocket(path: string, fetch: Fetch): Promise<Listener> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { uid } = await stat(folder);
  if (uid !== process.getuid?.()) {
    throw new BerthError('LISTEN_REFUSED', `The folder for sockets, ${folder}, belongs to another user (${uid}).`, {
      hint: 'Set BERTH_SOCKET_DIRECTORY to a folder of your own.',
    });
  }
  await chmod(folder, 0o700);
  await rm(path, { force: true });
  const server = createHttpServer(timeouts, nodeListener(fetch));
  await started(server, () => server.listen(path), path);
  await chmod(path, 0o600);
  return { address: path, close: (graceMs) => closeServer(server, graceMs) };
}

type TcpSettings = Pick<
  Settings,
  'listen' | 'token' | 'noAuth' | 'tls.certificate' | 'tls.key' | 'tls.clientAuthority'
>;

/**
 * Serves on TCP.
 * @param fetch the API, already guarded by authentication.ts
 * @throws BerthError LISTEN_REFUSED without a token, client certificates, or `noAuth` on loopback; ADDRESS_IN_USE
 */
export async function listenOnTcp(settings: TcpSettings & { listen: string }, fetch: Fetch): Promise<Listener> {
  const { host, port } = parseAddress(settings.listen);
  const tls = await readTls(settings);
  const knowsCaller = settings.token !== null || tls?.ca !== undefined;
  if (!knowsCaller && !(settings.noAuth && isLoopback(host))) {
    throw new BerthError(
      'LISTEN_REFUSED',
      settings.noAuth
        ? `--no-auth is for loopback addresses only, and ${host} is none.`
        : `Without a token or client certificates, everyone who reaches ${settings.listen} could run containers here.`,
    );
  }
  const listener = nodeListener(fetch);
  const server = tls ? createHttpsServer({ ...tls, ...timeouts }, listener) : createHttpServer(timeouts, listener);
  await started(server, () => server.listen(port, host), settings.listen);
  const bound = server.address();
  const boundPort = typeof bound === 'object' && bound ? bound.port : port;
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return {
    address: `${tls ? 'https' : 'http'}://${shownHost}:${boundPort}`,
    close: (graceMs) => closeServer(server, graceMs),
  };
}

/** Serves on a free port of loopback, for what every user of this host may ask. */
export async function listenOnLoopback(fetch: Fetch): Promise<Listener> {
  const server = createHttpServer(nodeListener(fetch));
  await started(server, () => server.listen(0, '127.0.0.1'), '127.0.0.1:0');
  const bound = server.address();
  const port = typeof bound === 'object' && bound ? bound.port : 0;
  return { address: `http://127.0.0.1:${port}`, close: (graceMs) => closeServer(server, graceMs) };
}

/** @returns the host and port of `HOST:PORT`, `[::1]:PORT` or `:PORT` (loopback) */
export function parseAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new BerthError('SETTING_INVALID', `The address to listen on, \`${address}\`, is not HOST:PORT.`);
  }
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

/** @returns whether the host is this machine's loopback, by name or number */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

async function readTls(settings: TcpSettings) {
  if (settings['tls.certificate'] === null && settings['tls.key'] === null) return undefined;
  const read = async (name: 'tls.certificate' | 'tls.key' | 'tls.clientAuthority'): Promise<Buffer> => {
    const file = settings[name];
    if (file === null) throw new BerthError('SETTING_INVALID', `TLS needs the setting \`${name}\` as well.`);
    try {
      return await readFile(file);
    } catch (error) {
      throw new BerthError('SETTING_INVALID', `The file ${file} of the setting \`${name}\` cannot be read.`, {
        cause: error,
      });
    }
  };
  const clients =
    settings['tls.clientAuthority'] === null
      ? {}
      : { ca: await read('tls.clientAuthority'), requestCert: true, rejectUnauthorized: true };
  return {
    cert: await read('tls.certificate'),
    key: await read('tls.key'),
    ...(clients as { ca?: Buffer; requestCert?: true; rejectUnauthorized?: true }),
  };
}

async function started(server: Server, listen: () => void, address: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        isErrno(error, 'EADDRINUSE')
          ? new BerthError('ADDRESS_IN_USE', `Another program listens on ${address}.`, { cause: error })
          : new BerthError('LISTEN_REFUSED', `Cannot listen on ${address}: ${error.message}.`, {
              hint: 'Check the address, and whether this user may listen on it.',
              cause: error,
            }),
      ),
    );
    server.once('listening', resolve);
    listen();
  });
}

async function closeServer(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(timer);
}
