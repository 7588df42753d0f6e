/** `berth up --watch`: stays, and tells each switch and each failure until Ctrl-C. */
import { BerthError } from '../core/errors.ts';
import type { PublishedEvent } from '../core/events.ts';
import { renderError } from '../core/render-error.ts';
import type { UpRequest } from '../environment/service.ts';
import { readFileIfPossible, type Run } from './context.ts';

export async function watchConfig(run: Run, request: UpRequest): Promise<void> {
  const { context, style, progress } = run;
  const say = (event: PublishedEvent, text: string): void => {
    progress.clear();
    context.stdout.write(run.json ? `${JSON.stringify(event)}\n` : text);
  };
  const onEvent = (event: PublishedEvent): void => {
    progress.onEvent(event);
    if (event.type === 'berth.switched') {
      const { name, from, to, added, removed } = event;
      const changes = [...added.map((it) => `+${it}`), ...removed.map((it) => `-${it}`)].join(' ');
      say(event, `${style.green('✓')} ${name}: generation ${from} → ${to}${changes === '' ? '' : ` (${changes})`}\n`);
    } else if (event.type === 'failed') {
      const error = BerthError.fromReport(event.error);
      const text = renderError(error, { style, readFile: readFileIfPossible, verbose: false });
      say(event, `${text}The berth keeps the environment that it has.\n`);
    } else if (event.type === 'berth.state') {
      say(event, `${event.name} is ${event.state}; watching its config. Ctrl-C ends.\n`);
    }
  };
  try {
    await run.client.watch(request, { ...run.call, onEvent });
  } catch (error) {
    // Ctrl-C is how it ends.
    if (!(error instanceof BerthError && error.code === 'CANCELLED')) throw error;
  }
}
