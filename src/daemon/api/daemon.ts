/** The daemon itself: what it is, telling it to leave, and the check that it is the one that the client means. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { BerthError } from '../../core/errors.ts';
import { build, version } from '../../core/version.ts';
import type { ApiDependencies } from './api.ts';
import { buildHeader, outdatedHeader, settingsHeader } from '../handshake.ts';
import { addOperation, errorResponse } from './operation.ts';
import { daemonInfoSchema } from './schemas.ts';

/** The daemon as the API needs it. */
export interface DaemonControl {
  readonly home: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Whether a command started it; such a daemon follows the commands' version and settings. */
  readonly managed: boolean;
  /** Of the settings it was started with: see settingsDigest. */
  readonly settingsDigest: string;
  stopping(): boolean;
  /** Leaves at the next moment without work. */
  stopWhenIdle(reason: string): void;
  /** Leaves now. @returns false when there is work, which is not harmed */
  stopNowIfIdle(reason: string): boolean;
}

export function addDaemon(app: OpenAPIHono, dependencies: ApiDependencies): void {
  const { daemon, activity } = dependencies;

  app.use('/v1/*', async (c: Context, next) => {
    if (daemon.stopping()) {
      return errorResponse(c, new BerthError('DAEMON_RESTARTING', 'The daemon is about to leave.'));
    }
    const differs = differences(c.req.header(buildHeader), c.req.header(settingsHeader), daemon.settingsDigest);
    if (differs && daemon.managed && daemon.stopNowIfIdle(`a command has other ${differs}`)) {
      return errorResponse(
        c,
        new BerthError('DAEMON_RESTARTING', `The daemon leaves because the command has other ${differs}.`),
      );
    }
    await next();
    if (differs) c.header(outdatedHeader, differs);
    return undefined;
  });

  addOperation(app, dependencies, {
    id: 'getDaemon',
    method: 'get',
    path: '/v1/daemon',
    tag: 'daemon',
    summary: 'Tells what the daemon is.',
    output: daemonInfoSchema,
    work: () =>
      Promise.resolve({
        version,
        build,
        pid: process.pid,
        home: daemon.home,
        startedAt: daemon.startedAt,
        managed: daemon.managed,
        // Without this request.
        inFlight: activity.inFlight - 1,
      }),
  });

  addOperation(app, dependencies, {
    id: 'stopDaemon',
    method: 'post',
    path: '/v1/daemon/stop',
    tag: 'daemon',
    summary: 'Tells the daemon to leave once no work is under way. Berths keep running.',
    output: z.object({ stopping: z.literal(true) }),
    work: () => {
      daemon.stopWhenIdle('it was told to');
      return Promise.resolve({ stopping: true as const });
    },
  });
}

function differences(
  clientBuild: string | undefined,
  clientSettings: string | undefined,
  own: string,
): string | undefined {
  const words = [
    ...(clientBuild !== undefined && clientBuild !== build ? ['code'] : []),
    ...(clientSettings !== undefined && clientSettings !== own ? ['settings'] : []),
  ];
  return words.length > 0 ? words.join(' and ') : undefined;
}
