import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { asBerthError, BerthError } from '../../core/errors.ts';
import { newCommand, type CommandContext, type CommonOptions } from '../context.ts';

interface ServeOptions extends CommonOptions {
  readonly listen?: string;
  readonly auth: boolean;
}

/** How long a daemon that a command has started gets to leave. */
const takeOverMs = 20_000;

export function serveCommand(context: CommandContext): Command {
  return newCommand('serve', 'Run the daemon in the foreground, until Ctrl-C.', [
    'berth serve',
    'BERTH_TOKEN=$(cat token) berth serve --listen 0.0.0.0:7474',
    'berth serve --listen 127.0.0.1:7474 --no-auth',
  ])
    .option('--listen <host:port>', 'answer on TCP too')
    .option('--no-auth', 'let every local user in over TCP; on loopback only')
    .action(async (options: ServeOptions) => {
      context.common = { ...context.common, ...options };
      const [{ startDaemon }, { readSettings }, { runUntilSignalled }] = await Promise.all([
        import('../../daemon/daemon.ts'),
        import('../../daemon/settings.ts'),
        import('../../daemon/signals.ts'),
      ]);
      const settings = readSettings({
        env: context.env,
        flags: {
          ...(options.listen === undefined ? {} : { listen: options.listen }),
          ...(options.auth ? {} : { noAuth: true }),
        },
      });
      await askManagedDaemonToLeave(settings);
      const daemon = await startDaemon({ settings, managed: false, waitForLockMs: 2000 });
      process.removeAllListeners('SIGINT').removeAllListeners('SIGTERM');
      // Listens to signals before anyone is told that it is there; one that came during the start counts too.
      const ended = runUntilSignalled(daemon);
      if (context.signal.aborted) daemon.stop('a signal while it started', 0);
      const { addresses } = daemon;
      if (options.json) context.stdout.write(`${JSON.stringify({ pid: process.pid, addresses })}\n`);
      else context.stderr.write(`Berth answers on ${addresses.join(' and ')}. Ctrl-C ends it; berths keep running.\n`);
      await ended;
      process.exit(0);
    });
}

/** A daemon that a command has started makes way for the one that somebody runs on purpose. */
async function askManagedDaemonToLeave(settings: { home: string; socketDirectory: string }): Promise<void> {
  const [{ createClient }, { socketTransport, isNobodyListening }, { locationsOf }] = await Promise.all([
    import('../../client/client.ts'),
    import('../../client/transport.ts'),
    import('../../daemon/settings.ts'),
  ]);
  const client = createClient(socketTransport(locationsOf(settings).socket));
  const deadline = Date.now() + takeOverMs;
  let told = false;
  while (Date.now() < deadline) {
    try {
      const { managed, pid, home } = await client.daemon();
      if (!managed) throw new BerthError('DAEMON_RUNNING', `Another daemon (process ${pid}) has ${home}.`);
      if (!told) await client.stopDaemon();
      told = true;
    } catch (error) {
      if (isNobodyListening(error)) return;
      const known = asBerthError(error);
      if (known.code !== 'DAEMON_RESTARTING' && known.code !== 'DAEMON_UNREACHABLE') throw known;
    }
    await sleep(20);
  }
}
