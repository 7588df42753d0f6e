/** The stream of all that happens. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { NumberedEvent } from '../event-history.ts';
import type { ApiDependencies } from './api.ts';
import { eventStream } from './sse.ts';

export function addEvents(app: OpenAPIHono, { history }: ApiDependencies): void {
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/events',
    operationId: 'events',
    tags: ['events'],
    summary:
      'Streams all events, each with an id. With `Last-Event-ID`, those that the client missed come first, as far as ' +
      'they are kept.',
    request: { headers: z.object({ 'last-event-id': z.string().optional() }) },
    responses: { 200: { description: 'Events.', content: { 'text/event-stream': { schema: z.string() } } } },
  });
  app.get('/v1/events', (c) => {
    const lastId = c.req.header('last-event-id');
    return eventStream(c.req.raw.signal, async (send, signal) => {
      const sendEvent = ({ id, event }: NumberedEvent): void =>
        send({ id, event: 'event', data: event, droppable: event.type === 'progress' || event.type === 'log' });
      if (lastId !== undefined && /^\d+$/.test(lastId)) history.after(Number(lastId)).forEach(sendEvent);
      await new Promise<void>((resolve) => {
        const unfollow = history.follow((numbered) => {
          sendEvent(numbered);
          if (numbered.event.type === 'daemon.stopping') finish();
        });
        const finish = (): void => {
          unfollow();
          resolve();
        };
        if (signal.aborted) finish();
        else signal.addEventListener('abort', finish, { once: true });
      });
    });
  });
}
