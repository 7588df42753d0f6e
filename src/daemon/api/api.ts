/**
 * The API as a function of Request to Response. One file a resource adds its operations; docs/openapi.json is
 * generated from them.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import { asBerthError, BerthError } from '../../core/errors.ts';
import { version } from '../../core/version.ts';
import type { BerthService } from '../../environment/service.ts';
import type { ImageService } from '../../environment/images.ts';
import type { StorageService } from '../../environment/storage.ts';
import type { Images } from '../../registry/disk/images.ts';
import type { Builder } from '../../builder/builder.ts';
import type { EventHistory } from '../event-history.ts';
import type { Metrics } from '../metrics.ts';
import { addBerths } from './berths.ts';
import { addBuilds } from './builds.ts';
import { addDaemon, type DaemonControl } from './daemon.ts';
import { addEnvironments } from './environments.ts';
import { addEvents } from './events.ts';
import { addGenerations } from './generations.ts';
import { addHealth } from './health.ts';
import { errorResponse, type OperationHost } from './operation.ts';
import { addImages } from './images.ts';
import { addKeptImages } from './kept-images.ts';
import { addPackages } from './packages.ts';
import { addPool } from './pool.ts';
import { addStorage } from './storage.ts';

export interface ApiDependencies extends OperationHost {
  readonly service: BerthService;
  readonly storage: StorageService;
  readonly builder: Builder;
  readonly images: ImageService;
  /** What the registry has. */
  readonly keptImages: Images;
  readonly history: EventHistory;
  readonly metrics: Metrics;
  readonly daemon: DaemonControl;
  /** What speaks another protocol, by the path that it lies below: `/nix-cache`. */
  readonly protocols?: Readonly<Record<`/${string}`, { fetch(request: Request): Promise<Response> }>>;
}

export interface Api {
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** @returns the OpenAPI description */
  document(): object;
}

export function createApi(dependencies: ApiDependencies): Api {
  const app = new OpenAPIHono({
    defaultHook: (result, c) => {
      if (result.success) return undefined;
      const issues = result.error.issues.map((issue) => `${issue.path.join('.') || 'the body'}: ${issue.message}`);
      return errorResponse(
        c,
        new BerthError('REQUEST_INVALID', `The request is not valid: ${issues.join('; ')}.`, { details: { issues } }),
      );
    },
  });
  app.onError((error, c) => {
    // Hono's own errors, for example of a body that is not JSON.
    const known =
      'status' in error && typeof error.status === 'number' && error.status < 500
        ? new BerthError('REQUEST_INVALID', `The request is not valid: ${error.message}.`)
        : asBerthError(error);
    dependencies.onError?.(known);
    return errorResponse(c, known);
  });
  app.notFound((c) =>
    c.json(
      { error: new BerthError('REQUEST_INVALID', `There is nothing at ${c.req.method} ${c.req.path}.`).report() },
      404,
    ),
  );

  addHealth(app, dependencies);
  addDaemon(app, dependencies);
  addBerths(app, dependencies);
  addGenerations(app, dependencies);
  addEnvironments(app, dependencies);
  addImages(app, dependencies);
  addPackages(app, dependencies);
  addStorage(app, dependencies);
  addBuilds(app, dependencies);
  addPool(app, dependencies);
  addKeptImages(app, dependencies);
  addEvents(app, dependencies);
  for (const [path, protocol] of Object.entries(dependencies.protocols ?? {})) {
    app.all(`${path}/*`, (c) => protocol.fetch(c.req.raw));
  }

  const document = (): object =>
    app.getOpenAPI31Document({
      openapi: '3.1.0',
      info: { title: 'Berth', version, description: 'Turns a config.nix into a ready container. See docs/api.md.' },
    });
  app.get('/openapi.json', (c) => c.json(document()));
  return { fetch: (request) => app.fetch(request), document };
}
