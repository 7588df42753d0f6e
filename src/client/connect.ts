/** The way to the daemon: starts it where none answers, and anew where it leaves because it is outdated. */
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '../core/errors.ts';
import { build } from '../core/version.ts';
import { buildHeader, outdatedHeader, settingsHeader } from '../daemon/handshake.ts';
import { locationsOf, settingsDigest, type Settings } from '../daemon/settings.ts';
import { startDaemonProcess } from './start-daemon.ts';
import { isNobodyListening, readAnswer, socketTransport, type Transport } from './transport.ts';

export interface ConnectOptions {
  readonly settings: Settings;
  /** Of the caller; the daemon gets a part of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called when a daemon is being started. */
  readonly onStarting?: () => void;
  /** Called once when the daemon is of other code or settings and stays; `differs` says which. */
  readonly onOutdated?: (differs: string) => void;
  /** The daemon's bundle. Default: the one beside this program's. */
  readonly program?: string;
}

/** How often a call is tried again after the daemon was started or has left. More would hide a daemon that crashes. */
const maxAttempts = 4;

/** @returns a transport that needs no daemon to run yet */
export function connect(options: ConnectOptions): Transport {
  const { settings } = options;
  const places = locationsOf(settings);
  const transport = socketTransport(places.socket);
  const program = options.program ?? fileURLToPath(new URL('../daemon/main.js', import.meta.url));
  const handshake = { [buildHeader]: build, [settingsHeader]: settingsDigest(settings) };
  let told = false;

  return async (request) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await transport({ ...request, headers: { ...handshake, ...request.headers } });
        if (response.status === 503) await readAnswer(response);
        const differs = response.headers[outdatedHeader];
        if (typeof differs === 'string' && !told) {
          told = true;
          options.onOutdated?.(differs);
        }
        return response;
      } catch (error) {
        const again = isNobodyListening(error) || isLeaving(error);
        if (!again || attempt >= maxAttempts) throw error;
        // One that leaves may have work to end; the daemon that is started waits for its lock.
        if (isLeaving(error)) await sleep(5, undefined, request.signal ? { signal: request.signal } : {});
        options.onStarting?.();
        await startDaemonProcess({
          program,
          log: places.log,
          env: options.env,
          ...(request.signal ? { signal: request.signal } : {}),
        });
      }
    }
  };
}

function isLeaving(error: unknown): boolean {
  return error instanceof BerthError && error.code === 'DAEMON_RESTARTING';
}
