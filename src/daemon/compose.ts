/** All wiring: settings in, the service and what must be closed out. Nothing else builds adapters. */
import { BerthError } from '../core/errors.ts';
import type { EventBus } from '../core/events.ts';
import type { BerthService } from '../environment/service.ts';
import type { Settings } from './settings.ts';

export interface Composition {
  readonly service: BerthService;
  readonly close: () => Promise<void>;
}

export function compose(settings: Settings, bus: EventBus): Promise<Composition> {
  const missing = () =>
    Promise.reject(
      new BerthError('MODE_UNSUPPORTED', `The service for ${settings.home} (${typeof bus}) is not wired yet.`),
    );
  const service = new Proxy(
    { list: () => Promise.resolve([]) },
    {
      get: (target, name) => (name in target ? target[name as keyof typeof target] : missing),
    },
  ) as unknown as BerthService;
  return Promise.resolve({ service, close: () => Promise.resolve() });
}
