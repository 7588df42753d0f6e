/** A command in a berth that lives as long as the command does. */
import type { UpRequest } from '../environment/service.ts';
import type { Run } from './context.ts';
import { captureSession, runSession } from './session.ts';

/**
 * Makes a berth, runs the command in it, and lets go of the berth; the process exits with the command's code.
 * @param argv empty: a shell
 */
export async function runInNewBerth(run: Run, request: UpRequest, argv: readonly string[]): Promise<void> {
  const { context } = run;
  const held = await run.client.run(request, run.call);
  const { berth } = held;
  run.progress.clear();
  try {
    if (run.json) {
      const captured = await captureSession(context, { agentSocket: berth.agentSocket, argv });
      const { id, name, cache, timingsMs } = berth;
      run.result({ id, name, ...captured, cache, timingsMs }, () => '');
      context.exitCode = captured.exitCode;
    } else {
      context.exitCode = await runSession(context, { agentSocket: berth.agentSocket, argv });
    }
  } finally {
    await held.release();
  }
}
