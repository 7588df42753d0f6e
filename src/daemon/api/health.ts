/** Whether the daemon lives, whether it can work, and its metrics. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { version } from '../../core/version.ts';
import type { ApiDependencies } from './api.ts';

export function addHealth(app: OpenAPIHono, { daemon, metrics }: ApiDependencies): void {
  const status = z.object({ status: z.enum(['ok', 'stopping']), version: z.string() });
  const text = { 'text/plain': { schema: z.string() } };
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/healthz',
    operationId: 'healthz',
    tags: ['daemon'],
    summary: 'Answers while the daemon lives.',
    responses: { 200: { description: 'It lives.', content: { 'application/json': { schema: status } } } },
  });
  app.get('/healthz', (c) => c.json({ status: 'ok', version }));

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/readyz',
    operationId: 'readyz',
    tags: ['daemon'],
    summary: 'Answers whether the daemon takes work.',
    responses: {
      200: { description: 'It takes work.', content: { 'application/json': { schema: status } } },
      503: { description: 'It is about to leave.', content: { 'application/json': { schema: status } } },
    },
  });
  app.get('/readyz', (c) =>
    daemon.stopping() ? c.json({ status: 'stopping', version }, 503) : c.json({ status: 'ok', version }),
  );

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/metrics',
    operationId: 'metrics',
    tags: ['daemon'],
    summary: 'Metrics in the text format of Prometheus.',
    responses: { 200: { description: 'The metrics.', content: text } },
  });
  app.get('/metrics', async (c) => c.body(await metrics.text(), 200, { 'content-type': metrics.contentType }));
}
