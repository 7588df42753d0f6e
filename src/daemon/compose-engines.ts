/** The engines, each behind its pool. */
import { join } from 'node:path';
import type { EventBus } from '../core/events.ts';
import { packageRoot } from '../core/package-root.ts';
import { createDockerEngine } from '../engine/docker/docker-engine.ts';
import { createEmbeddedEngine } from '../engine/embedded/embedded-engine.ts';
import type { BerthSpec, Engine, Limits } from '../engine/engine.ts';
import { createPooledEngine } from '../engine/pool/pooled-engine.ts';
import { wholeStoreMount } from '../materialise/shared-store.ts';
import type { WaitingFolders } from '../materialise/waiting-folders.ts';
import type { Store } from '../nix/store.ts';
import type { LoopbackRegistry } from './loopback-registry.ts';
import { findOnPath, type Settings } from './settings.ts';

/** @returns the engines, the preferred one first */
export function composeEngines(
  settings: Settings,
  store: Store,
  bus: EventBus,
  loopback: LoopbackRegistry,
  folders: WaitingFolders,
): Engine[] {
  const image = { busybox: findBusybox(), nativeDirectory: nativeDirectory() };
  const embedded = createEmbeddedEngine({
    ...image,
    stateDirectory: join(settings.home, 'engine/embedded'),
    ...(settings['oci.runtime'] === null ? {} : { runtimes: [settings['oci.runtime']] }),
  });
  const docker = createDockerEngine({
    ...image,
    stateDirectory: join(settings.home, 'engine/docker'),
    socketPath: settings['docker.socket'] ?? '/var/run/docker.sock',
    serveImage: (image) => loopback.serve(image),
  });
  const preferred = settings.engine === 'docker' ? docker : embedded;
  return [embedded, docker].map((engine) =>
    createPooledEngine(engine, {
      // What waits from the start on costs memory: only where berths are made without being told where.
      min: engine === preferred ? settings['pool.min'] : 0,
      max: settings['pool.max'],
      targetHitRate: settings['pool.targetHitRate'],
      idleMs: settings['pool.idleMs'],
      limits: usualLimits(settings),
      shared: [wholeStoreMount(store)],
      usual: { network: networkOf(settings, engine.name), isolation: settings.isolation },
      berthsDirectory: join(settings.home, 'berths'),
      directory: join(settings.home, 'engine', engine.name, 'waiting'),
      folders,
      emit: bus.emitter(`pool:${engine.name}`),
    }),
  );
}

/** Of a berth whose command names none. */
export function usualLimits(settings: Settings): Limits {
  return {
    memoryBytes: settings['limits.memory'],
    cpus: settings['limits.cpus'],
    pids: settings['limits.pids'],
  };
}

/** A network of its own with a way out, where the engine can make one. */
export function networkOf(settings: Settings, engine: Engine['name']): BerthSpec['network'] {
  if (settings.network !== 'auto') return settings.network;
  return engine === 'docker' || findOnPath('slirp4netns') !== undefined ? 'bridge' : 'none';
}

/** The static shell of the host: the minimal image is made from it, and builds have it as /bin/sh. */
export function findBusybox(): string {
  return findOnPath('busybox') ?? '/bin/busybox';
}

/** Berth's native programs for this machine. */
export function nativeDirectory(): string {
  return join(packageRoot, `native/bin/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux`);
}
