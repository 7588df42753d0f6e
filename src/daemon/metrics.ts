/** Prometheus metrics, all fed from the event bus. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EventBus, PublishedEvent } from '../core/events.ts';
import type { Activity } from './activity.ts';

export interface Metrics {
  readonly contentType: string;
  /** @returns the text that Prometheus reads */
  text(): Promise<string>;
  close(): void;
}

// From a cache hit (below a millisecond) to a long build.
const seconds = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800];

export function createMetrics(bus: EventBus, activity: Activity): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'berth_' });
  const registers = [registry];
  const phases = new Histogram({
    name: 'berth_phase_duration_seconds',
    help: 'How long the phases of the flow took, by whether a cache had the result.',
    labelNames: ['phase', 'cache'],
    buckets: seconds,
    registers,
  });
  const derivations = new Histogram({
    name: 'berth_derivation_duration_seconds',
    help: 'How long builds and downloads of derivations took.',
    buckets: seconds,
    registers,
  });
  const requests = new Histogram({
    name: 'berth_request_duration_seconds',
    help: "How long the API's operations took, by their HTTP status.",
    labelNames: ['operation', 'status'],
    buckets: seconds,
    registers,
  });
  const states = new Counter({
    name: 'berth_state_changes_total',
    help: 'Berths that came into a state.',
    labelNames: ['state'],
    registers,
  });
  const switches = new Counter({
    name: 'berth_switches_total',
    help: 'Environments that a berth was given in place of another.',
    registers,
  });
  const failures = new Counter({
    name: 'berth_failures_total',
    help: 'Work that failed, by error code and whose fault it was.',
    labelNames: ['code', 'fault'],
    registers,
  });
  const warnings = new Counter({ name: 'berth_warnings_total', help: 'Warnings.', registers });
  new Gauge({
    name: 'berth_work_in_flight',
    help: 'Requests that are being worked on.',
    registers,
    collect() {
      this.set(activity.inFlight);
    },
  });

  const observe = (event: PublishedEvent): void => {
    switch (event.type) {
      case 'phase.finished':
        phases.observe({ phase: event.phase, cache: event.cache ?? 'none' }, event.ms / 1000);
        break;
      case 'derivation.finished':
        derivations.observe(event.ms / 1000);
        break;
      case 'request.finished':
        requests.observe({ operation: event.operation, status: event.status }, event.ms / 1000);
        break;
      case 'berth.state':
        states.inc({ state: event.state });
        break;
      case 'berth.switched':
        switches.inc();
        break;
      case 'failed':
        failures.inc({ code: event.error.code, fault: event.error.fault });
        break;
      case 'warning':
        warnings.inc();
        break;
      case 'phase.started':
      case 'progress':
      case 'derivation.started':
      case 'log':
      case 'daemon.started':
      case 'image.evicted':
      case 'mode.chosen':
      case 'daemon.stopping':
        break;
    }
  };
  const unsubscribe = bus.subscribe(observe);
  return { contentType: registry.contentType, text: () => registry.metrics(), close: unsubscribe };
}
