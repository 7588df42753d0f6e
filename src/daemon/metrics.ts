/** Prometheus metrics, all fed from the event bus. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EventBus, PublishedEvent } from '../core/events.ts';
import type { BuilderStatistics } from '../builder/builder.ts';
import type { Activity } from './activity.ts';

export interface Metrics {
  readonly contentType: string;
  /** @returns the text that Prometheus reads */
  text(): Promise<string>;
  close(): void;
}

// From a cache hit (below a millisecond) to a long build.
const seconds = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800];

/** @param builder tells how busy the builder is now */
export function createMetrics(
  bus: EventBus,
  activity: Activity,
  builder?: () => BuilderStatistics | undefined,
): Metrics {
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
  const claims = new Histogram({
    name: 'berth_pool_claim_duration_seconds',
    help: 'How long it took to give a container that waited what a berth has.',
    labelNames: ['engine'],
    buckets: seconds,
    registers,
  });
  const misses = new Counter({
    name: 'berth_pool_misses_total',
    help: 'Launches that found no container waiting.',
    labelNames: ['engine'],
    registers,
  });
  const waiting = new Gauge({
    name: 'berth_pool_waiting',
    help: 'Started containers that wait for an environment, and how many should.',
    labelNames: ['engine', 'kind'],
    registers,
  });
  const waitingMemory = new Gauge({
    name: 'berth_pool_memory_bytes',
    help: 'Memory that the waiting containers took when their number last changed.',
    labelNames: ['engine'],
    registers,
  });
  new Gauge({
    name: 'berth_work_in_flight',
    help: 'Requests that are being worked on.',
    registers,
    collect() {
      this.set(activity.inFlight);
    },
  });

  const waits = new Histogram({
    name: 'berth_build_wait_seconds',
    help: 'How long builds waited for a worker.',
    labelNames: ['kind'],
    buckets: seconds,
    registers,
  });
  const builds = new Histogram({
    name: 'berth_build_duration_seconds',
    help: 'How long builds took, waiting included, by their outcome.',
    labelNames: ['kind', 'outcome'],
    buckets: seconds,
    registers,
  });
  const retries = new Counter({ name: 'berth_build_retries_total', help: 'Builds that were tried again.', registers });
  const builderGauge = (name: string, help: string, of: keyof BuilderStatistics) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(builder?.()?.[of] ?? 0);
      },
    });
  builderGauge('berth_builder_workers', 'Workers that there are.', 'workers');
  builderGauge('berth_builder_workers_busy', 'Workers that work.', 'busyWorkers');
  builderGauge('berth_build_queue_length', 'Jobs that wait for a slot.', 'queued');
  builderGauge('berth_builds_running', 'Jobs that run.', 'running');

  const observe = (event: PublishedEvent): void => {
    // Told by another piece of work already.
    if (event.joined) return;
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
      case 'pool.claimed':
        claims.observe({ engine: event.engine }, event.ms / 1000);
        break;
      case 'pool.missed':
        misses.inc({ engine: event.engine });
        break;
      case 'pool.sized':
        waiting.set({ engine: event.engine, kind: 'there' }, event.waiting);
        waiting.set({ engine: event.engine, kind: 'wanted' }, event.target);
        if (event.memoryBytes !== null) waitingMemory.set({ engine: event.engine }, event.memoryBytes);
        break;
      case 'build.started':
        waits.observe({ kind: event.kind }, event.waitedMs / 1000);
        break;
      case 'build.finished':
        builds.observe({ kind: event.kind, outcome: event.outcome }, event.ms / 1000);
        break;
      case 'build.retried':
        retries.inc();
        break;
      case 'pool.unavailable':
      case 'build.queued':
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
