/** The service of the store: each verb in a few lines, over seeds, their transfer, the collector and the graph. */
import type { Nix } from '../nix/nix.ts';
import type { Berths } from './berths.ts';
import { usageOf } from './garbage-usage.ts';
import type { createGarbageCollector } from './garbage.ts';
import type { EnvironmentRecords } from './records.ts';
import type { SeedTransfer } from './seed-transfer.ts';
import type { Seeds } from './seeds.ts';
import type { StorageService } from './storage.ts';
import type { StorageRecords } from './storage-records.ts';

export interface StorageOptions {
  readonly nix: Nix;
  readonly seeds: Seeds;
  readonly transfer: SeedTransfer;
  readonly collector: ReturnType<typeof createGarbageCollector>;
  readonly berths: Berths;
  readonly records: EnvironmentRecords;
  readonly storage: StorageRecords;
}

export function createStorage(options: StorageOptions): StorageService {
  const { nix, seeds, transfer } = options;
  return {
    addSeeds: (request, context) => seeds.add(request, context),
    listSeeds: () => seeds.list(),
    removeSeeds: (names) => seeds.remove(names),
    exportSeeds: (file, request, context) => transfer.export(file, request, context),
    importSeeds: (file, request, context) => transfer.import(file, request, context),
    pushSeeds: (place, request, context) => transfer.push(place, request, context),
    pullSeeds: (place, request, context) => transfer.pull(place, request, context),
    suggestSeeds: (limit) => seeds.suggest(limit),
    collectGarbage: (request, context) => options.collector.collect(request, context),
    async diskUsage() {
      const graph = await nix.graph();
      const valid = new Set<string>(graph.paths);
      const berths = options.berths.all();
      const files = new Map<string, string[]>();
      for (const { environmentKey, file } of options.storage.usage()) {
        files.set(environmentKey, [...new Set([...(files.get(environmentKey) ?? []), file])]);
      }
      const environments = options.records
        .environments()
        .filter(({ environment }) => valid.has(environment.storePath))
        .map(({ key, environment, usedAt }) => ({
          kind: 'environment' as const,
          name: files.get(key)?.join(', ') ?? environment.digest,
          roots: [environment.storePath],
          digest: environment.digest,
          berths: berths.filter((it) => it.environmentDigest === environment.digest).map((it) => it.spec.name),
          usedAt: new Date(usedAt).toISOString(),
        }));
      const seeded = options.storage
        .seeds()
        .map((seed) => ({ kind: 'seed' as const, name: seed.name, roots: [seed.storePath] }));
      const sources = options.storage
        .sources()
        .map((source) => ({ kind: 'source' as const, name: source.locked.label, roots: source.storePaths }));
      const { users, neededBytes } = usageOf(graph, [...environments, ...seeded, ...sources]);
      const plain = ({ name, paths, bytes, sharedBytes, uniqueBytes }: (typeof users)[number]) => ({
        name,
        paths,
        bytes,
        sharedBytes,
        uniqueBytes,
      });
      return {
        store: { paths: graph.paths.length, bytes: graph.bytes.reduce((sum, it) => sum + it, 0), neededBytes },
        environments: users.flatMap((user) =>
          user.kind === 'environment'
            ? [{ ...plain(user), digest: user.digest, berths: user.berths, usedAt: user.usedAt }]
            : [],
        ),
        seeds: users.filter((user) => user.kind === 'seed').map(plain),
        sources: users.filter((user) => user.kind === 'source').map(plain),
      };
    },
  };
}
