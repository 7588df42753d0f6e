/**
 * The daemon's process, as the client starts it: `node dist/daemon/main.js`. It says on file descriptor 3, in one line
 * of JSON, that it is ready or why it is not, so that the client need not ask again and again.
 */
import { closeSync, writeSync } from 'node:fs';
import { asBerthError } from '../core/errors.ts';
import { startDaemon } from './daemon.ts';
import { runUntilSignalled } from './signals.ts';
import { readSettings } from './settings.ts';

const readinessDescriptor = 3;
/** Longer than a daemon takes that is about to leave. */
const waitForLockMs = 20_000;

function say(message: object): void {
  try {
    writeSync(readinessDescriptor, `${JSON.stringify(message)}\n`);
    closeSync(readinessDescriptor);
  } catch {
    // Started by hand, or the client has gone: nobody to tell.
  }
}

try {
  const daemon = await startDaemon({ settings: readSettings(), managed: true, waitForLockMs });
  say({ ready: true, pid: process.pid });
  await runUntilSignalled(daemon);
  process.exit(0);
} catch (error) {
  const known = asBerthError(error);
  if (known.code === 'DAEMON_RUNNING' && known.details?.['ready'] === true) {
    // Another was started at the same time and was quicker; the client can use that one.
    say({ ready: true, pid: known.details['pid'] });
    process.exit(0);
  }
  console.error(known);
  say({ error: known.report() });
  process.exit(known.exitCode);
}
