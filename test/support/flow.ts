/**
 * The whole of Berth without its command: settings and wiring as the daemon has them, over the shared test store and with
 * a home of its own. Containers are real.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { formatLock } from '../../src/config/lock.ts';
import { EventBus, type PublishedEvent } from '../../src/core/events.ts';
import { compose, type Composition } from '../../src/daemon/compose.ts';
import { readSettings } from '../../src/daemon/settings.ts';
import { execInBerth } from '../../src/engine/agent/agent-client.ts';
import type { BerthService, WorkContext } from '../../src/environment/service.ts';
import type { ImageService } from '../../src/environment/images.ts';
import type { StorageService } from '../../src/environment/storage.ts';
import { debianLock } from './debian-root.ts';
import { testHome } from './test-home.ts';

export interface Flow {
  readonly home: string;
  readonly service: BerthService;
  readonly storage: StorageService;
  readonly images: ImageService;
  /** The variables of its settings; what is changed here counts from the next restart on. */
  readonly settings: Record<string, string | undefined>;
  /** All events so far, of all subjects. */
  readonly events: PublishedEvent[];
  /** For work of one subject. */
  context(subject: string, signal?: AbortSignal): WorkContext;
  /** Makes a project folder with these files, locked to the shared test index. */
  project(files: Readonly<Record<string, string>>): Promise<string>;
  /** Closes the composition and composes again over the same home, as a restart of the daemon does. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface FlowOptions {
  readonly variables?: Readonly<Record<string, string>>;
  /** Default: the store that all tests share. */
  readonly storeRoot?: string;
}

export async function createFlow(options: FlowOptions = {}): Promise<Flow> {
  const home = mkdtempSync('/tmp/berth-flow-');
  const settings: Record<string, string | undefined> = {
    PATH: process.env['PATH'],
    HOME: home,
    BERTH_HOME: home,
    BERTH_SOURCE: 'debian',
    BERTH_DEBIAN_SUITE: 'bookworm',
    BERTH_STORE_ROOT: options.storeRoot ?? join(testHome, 'store'),
    BERTH_ENGINE: 'embedded',
    ...options.variables,
  };
  const events: PublishedEvent[] = [];
  let bus: EventBus;
  let composition: Composition;
  const open = async () => {
    bus = new EventBus();
    bus.subscribe((event) => events.push(event));
    composition = await compose(readSettings({ env: settings }), bus);
  };
  await open();
  return {
    home,
    settings,
    get service() {
      return composition.service;
    },
    get images() {
      return composition.images;
    },
    get storage() {
      return composition.storage;
    },
    events,
    context: (subject, signal) => ({ emit: bus.emitter(subject), ...(signal ? { signal } : {}) }),
    async project(files) {
      const folder = join(home, 'projects', randomBytes(4).toString('hex'));
      mkdirSync(folder, { recursive: true });
      const lock = formatLock({ sources: { pkgs: await debianLock('bookworm') } });
      for (const [name, content] of Object.entries({ 'berth.lock': lock, ...files })) {
        writeFileSync(join(folder, name), content);
      }
      return folder;
    },
    async restart() {
      await composition.close();
      await open();
    },
    async close() {
      for (const berth of await composition.service.list()) await composition.service.remove(berth.id);
      await composition.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Runs a command in a berth with its environment. */
export async function runIn(
  agentSocket: string,
  argv: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const execution = await execInBerth(agentSocket, { argv, hook: true });
  execution.stdin.end();
  const [stdout, stderr, status] = await Promise.all([text(execution.stdout), text(execution.stderr), execution.exit]);
  return { code: 'code' in status ? status.code : null, stdout, stderr };
}
