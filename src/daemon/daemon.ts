/** The daemon's life: take the home's lock, compose, listen, work, and leave without harm to what is under way. */
import { readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BuilderStatistics } from '../builder/builder.ts';
import { asBerthError, BerthError } from '../core/errors.ts';
import { EventBus } from '../core/events.ts';
import { writeFileAtomically } from '../core/files.ts';
import { version } from '../core/version.ts';
import { createActivity } from './activity.ts';
import { createApi } from './api/api.ts';
import { authenticated } from './authentication.ts';
import { compose } from './compose.ts';
import { createEventHistory } from './event-history.ts';
import { createHotHandler } from './hot/handle.ts';
import { createHotServer } from './hot/server.ts';
import { createChannels } from './inside/channels.ts';
import { isLoopback, listenOnSocket, listenOnTcp, parseAddress, type Listener } from './listen.ts';
import { openLogFile } from './log-file.ts';
import { createMetrics } from './metrics.ts';
import { locationsOf, settingsDigest, type Locations, type Settings } from './settings.ts';
import { tryLockHome, type HomeLock } from '../environment/home-lock.ts';

export interface DaemonOptions {
  readonly settings: Settings;
  /** Started by a command: leaves when idle, and when a command of another build or other settings comes. */
  readonly managed: boolean;
  /** How long to wait for another daemon of the same home that is starting or about to leave. Default 0. */
  readonly waitForLockMs?: number;
}

export interface Daemon {
  /** Where it listens, for people. */
  readonly addresses: readonly string[];
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  /**
   * Leaves at the next moment without work.
   * @param graceMs when given, no new work is taken from now on, and what is under way is cancelled after this time
   */
  stop(reason: string, graceMs?: number): void;
}

/**
 * Starts the daemon; resolves when it answers.
 * @throws BerthError DAEMON_RUNNING (with `details.ready` when that one answers), LISTEN_REFUSED, ADDRESS_IN_USE, SETTING_INVALID, and what composing throws
 */
export async function startDaemon({ settings, managed, waitForLockMs = 0 }: DaemonOptions): Promise<Daemon> {
  const places = locationsOf(settings);
  const lock = await takeLock(places, settings.home, waitForLockMs);
  // Closed in the opposite order, when starting fails as well as at the end.
  const closers: (() => unknown)[] = [() => lock.release()];
  const close = async (): Promise<void> => {
    for (const closer of closers.reverse()) {
      try {
        await closer();
      } catch (error) {
        process.emitWarning(`The daemon did not close cleanly: ${asBerthError(error).message}`);
      }
    }
  };

  try {
    const bus = new EventBus();
    const emit = bus.emitter('daemon');
    const log = openLogFile(bus, { path: places.log, level: settings.logLevel, maxBytes: settings['log.maxBytes'] });
    closers.push(() => log.close());
    const activity = createActivity();
    const history = createEventHistory(bus);
    // The builder is made later than the metrics, which hear of all that happens.
    const building: { statistics?: () => BuilderStatistics } = {};
    const metrics = createMetrics(bus, activity, () => building.statistics?.());
    const shutdown = new AbortController();
    const composition = await compose(settings, bus, () => activity.begin());
    const { service, ready, storage, images, keptImages, builder, protocols, needed } = composition;
    closers.push(composition.close);
    building.statistics = () => builder.statistics();

    let stopping = false;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const leave = (reason: string): void => {
      if (stopping) return;
      stopping = true;
      emit({ type: 'daemon.stopping', reason });
      void activity
        .whenIdle()
        .then(close)
        .then(() => end());
    };
    const stop = (reason: string, graceMs?: number): void => {
      if (graceMs === undefined) {
        // Takes work until there is none, so that a long-lived one does not lock others out.
        void activity.whenIdle().then(() => leave(reason));
        return;
      }
      setTimeout(() => shutdown.abort(), graceMs).unref();
      leave(reason);
    };
    const stopNowIfIdle = (reason: string): boolean => {
      if (activity.inFlight > 0) return false;
      leave(reason);
      return true;
    };

    const api = createApi({
      service,
      storage,
      builder,
      images,
      keptImages,
      protocols,
      bus,
      activity,
      history,
      metrics,
      shutdown: shutdown.signal,
      onError: (error) => log.error(error),
      daemon: {
        home: settings.home,
        startedAt: new Date().toISOString(),
        managed,
        settingsDigest: settingsDigest(settings),
        stopping: () => stopping,
        stopWhenIdle: stop,
        stopNowIfIdle,
      },
    });
    const channels = createChannels({ service, bus, activity, onError: (error) => log.error(error) });
    closers.push(() => channels.close());
    const listeners: Listener[] = [await listenOnSocket(places.socket, api.fetch)];
    closers.push(() => Promise.all(listeners.map((listener) => listener.close(2000))));
    const hot = await createHotServer({
      socketPath: places.hotSocket,
      handle: createHotHandler({
        ...{ service, ready, activity, bus, stopping: () => stopping },
        settingsDigest: settingsDigest(settings),
      }),
      onError: (error) => log.error(asBerthError(error)),
    });
    closers.push(() => hot.close());
    // Commands that still run in berths of their own would keep the daemon.
    shutdown.signal.addEventListener('abort', () => void hot.endConnections(), { once: true });
    if (settings.listen !== null) listeners.push(await listenTcp({ ...settings, listen: settings.listen }, api.fetch));
    await writeFileAtomically(places.pidFile, `${process.pid}\n`);
    closers.push(() => rm(places.pidFile, { force: true }));
    if (managed && settings.idleTimeoutMs > 0) {
      closers.push(whenIdleFor(settings.idleTimeoutMs, activity.idleForMs, needed, () => leave('it had no work')));
    }
    emit({ type: 'daemon.started', version, pid: process.pid });
    return { addresses: listeners.map((listener) => listener.address), ended, stop };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Waits while another daemon has the lock and does not answer; one that answers is there to stay. */
async function takeLock(places: Locations, home: string, waitMs: number): Promise<HomeLock> {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const lock = tryLockHome(places.lock);
    if (lock) return lock;
    const ready = await isReady(places.socket);
    if (ready || Date.now() >= deadline) {
      const pid = (await readFile(places.pidFile, 'utf8').catch(() => '')).trim();
      throw new BerthError('DAEMON_RUNNING', `Another daemon${pid ? ` (process ${pid})` : ''} has ${home}.`, {
        details: { home, ready, ...(pid ? { pid: Number(pid) } : {}) },
      });
    }
    await sleep(25);
  }
}

/** @returns whether a daemon that takes work answers on the socket */
function isReady(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = request({ socketPath, path: '/readyz', agent: false, timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.on('timeout', () => asking.destroy());
    asking.on('error', () => resolve(false));
    asking.end();
  });
}

function listenTcp(settings: Settings & { listen: string }, fetch: Parameters<typeof authenticated>[0]) {
  const { host } = parseAddress(settings.listen);
  const loopbackOnly = isLoopback(host) && settings.token === null;
  return listenOnTcp(settings, authenticated(fetch, { token: settings.token, loopbackOnly }));
}

/** @returns a function that ends the watch */
function whenIdleFor(
  ms: number,
  idleForMs: () => number,
  needed: () => Promise<boolean>,
  onIdle: () => void,
): () => void {
  let timer: NodeJS.Timeout;
  let ended = false;
  const check = async (): Promise<void> => {
    // An answer that can't be had, such as an engine's that is away, holds the daemon as little as none.
    const stays = ms - idleForMs() <= 0 && (await needed().catch(() => false));
    const left = stays ? ms : ms - idleForMs();
    if (ended) return;
    if (left <= 0) onIdle();
    else schedule(left);
  };
  const schedule = (left: number): void => {
    timer = setTimeout(() => void check(), Math.max(left, 10));
  };
  schedule(ms);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
