/** A service for tests of the API and the client: answers at once, tells events, and can be told to wait or fail. */
import type { BerthService, BerthSummary, UpResult } from '../../environment/service.ts';
import { BerthError } from '../../core/errors.ts';

const digest = `sha256:${'a'.repeat(64)}` as const;
const timingsMs = { read: 1, evaluate: 2, build: 3, libraries: 0, materialise: 4, start: 5, total: 15 };
const cache = { environment: 'miss', build: 'hit', image: 'none' } as const;

export const exampleUp: UpResult = {
  name: 'web',
  id: '0123456789ab',
  state: 'ready',
  mode: 'shell',
  modeReason: 'asked for',
  engine: 'embedded',
  configDigest: digest,
  environmentDigest: digest,
  imageDigest: null,
  cache,
  closure: { paths: 3, bytes: 4096 },
  libraries: [],
  generation: 1,
  switched: null,
  timingsMs,
};

export const exampleBerth: BerthSummary = {
  id: '0123456789ab',
  name: 'web',
  state: 'running',
  exitCode: null,
  engine: 'embedded',
  mode: 'shell',
  directory: '/p',
  environmentDigest: digest,
  createdAt: '2026-11-24T12:00:00.000Z',
  ports: [{ host: 8080, container: 80 }],
  agentSocket: '/run/agent.sock',
};

/** What the service was asked, and what it does about it. */
export interface FakeService extends BerthService {
  /** Verbs with their first argument, in order. */
  readonly calls: [verb: string, argument: unknown][];
  /** Replaces what a verb does. */
  override: Partial<BerthService>;
}

export function createFakeService(): FakeService {
  const calls: FakeService['calls'] = [];
  const unknown = (name: string) => new BerthError('BERTH_UNKNOWN', `There is no berth \`${name}\`.`);
  const find = (name: string): Promise<BerthSummary> =>
    name === 'web' ? Promise.resolve(exampleBerth) : Promise.reject(unknown(name));
  const verbs: BerthService = {
    up(_, { emit }) {
      emit({ type: 'phase.started', phase: 'evaluate' });
      emit({ type: 'phase.finished', phase: 'evaluate', ms: 2, cache: 'miss' });
      return Promise.resolve(exampleUp);
    },
    environment: () =>
      Promise.resolve({
        environment: {
          digest,
          storePath: `/nix/store/${'0'.repeat(32)}-environment` as const,
          fhs: null,
          variables: { PATH: '/bin' },
          shellHook: '',
          functions: '',
          command: null,
          ports: [],
          closure: { paths: [], bytes: 0 },
        },
        configDigest: digest,
        cache,
        timingsMs,
      }),
    run: () => Promise.resolve({ id: 'run1', name: 'run-1', agentSocket: '/run/agent.sock', cache, timingsMs }),
    list: () => Promise.resolve([exampleBerth]),
    get: find,
    stop: async (name) => {
      await find(name);
    },
    start: find,
    remove: async (name) => {
      if (name !== 'run1') await find(name);
    },
    pool: () => Promise.resolve([]),
    async *logs() {
      yield await Promise.resolve({ data: Buffer.from('hello\n') });
    },
    explain: () =>
      Promise.resolve({ configFile: '/p/config.nix', configDigest: digest, environmentDigest: null, stages: [] }),
    lock: () => Promise.resolve({ lockFile: '/p/berth.lock', sources: [] }),
    search: () => Promise.resolve([{ name: 'jq', version: '1.6', description: 'JSON', source: 'debian bookworm' }]),
    addPackages: (_, names) => Promise.resolve({ file: '/p/config.nix', names: [...names], switched: [] }),
    removePackages: (_, names) => Promise.resolve({ file: '/p/config.nix', names: [...names], switched: [] }),
    editFromInside: (_, __, names) => Promise.resolve({ file: '/p/config.nix', names: [...names], switched: [] }),
    history: async (name) => {
      await find(name);
      return { name, id: exampleBerth.id, current: 1, config: 'same', generations: [] };
    },
    rollback: async (name, { to = 1 }) => {
      await find(name);
      const ids = { name, id: exampleBerth.id, from: 2, to: 3, of: to };
      return { ...ids, difference: null, replaced: false, environmentDigest: digest, ms: 1 };
    },
    watch(_, { emit, signal }) {
      emit({ type: 'berth.switched', id: exampleBerth.id, name: 'web', from: 1, to: 2, added: ['jq'], removed: [] });
      return new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
  const fake = { calls, override: {} } as unknown as FakeService;
  for (const verb of Object.keys(verbs) as (keyof BerthService)[]) {
    const call = (...args: unknown[]): unknown => {
      calls.push([verb, args[0]]);
      return (fake.override[verb] ?? (verbs[verb] as (...input: never[]) => unknown))(...(args as never[]));
    };
    Object.assign(fake, { [verb]: call });
  }
  return fake;
}
