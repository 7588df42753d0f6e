/** Signals to the daemon's process: the first lets work end, the second cancels it. */
import type { Daemon } from './daemon.ts';

const graceMs = 10_000;

/** Resolves when the daemon has ended, by itself or by a signal. */
export async function runUntilSignalled(daemon: Daemon): Promise<void> {
  let signalled = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    daemon.stop(`signal ${signal}`, signalled ? 0 : graceMs);
    signalled = true;
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  // A terminal that closes is no reason to end.
  process.on('SIGHUP', () => undefined);
  process.on('unhandledRejection', (reason) => console.error('Unhandled rejection:', reason));
  await daemon.ended;
}
