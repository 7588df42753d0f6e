/** All wiring: settings in, the service and what must be closed out. Nothing else builds adapters. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { editPackages } from '../config/edit-packages.ts';
import { findConfig } from '../config/find-config.ts';
import type { Builder } from '../builder/builder.ts';
import type { EventBus } from '../core/events.ts';
import { packageRoot } from '../core/package-root.ts';
import { refreshLinks } from '../engine/agent/agent-client.ts';
import { createBerthRecords } from '../environment/berth-records.ts';
import { createBerths } from '../environment/berths.ts';
import { evaluationsInTurn } from '../environment/evaluations-in-turn.ts';
import { createBuildStep } from '../environment/build-step.ts';
import { createImages } from '../environment/create-images.ts';
import { createService } from '../environment/create-service.ts';
import { createStorage } from '../environment/create-storage.ts';
import { createEvaluateStep } from '../environment/evaluate-step.ts';
import { createGarbageGuard } from '../environment/garbage-guard.ts';
import { createGarbageCollector } from '../environment/garbage.ts';
import { createGenerations } from '../environment/generations.ts';
import { createImageRecords } from '../environment/image-records.ts';
import type { ImageService } from '../environment/images.ts';
import { createLibraryRecords } from '../environment/library-records.ts';
import { createLibraryStep } from '../environment/library-step.ts';
import { createPackageLocks } from '../environment/package-locks.ts';
import { createNixAccess, usesNix } from '../environment/nix-access.ts';
import { prepareHeld } from '../environment/prepare.ts';
import { createEnvironmentRecords, environmentKey, openStateDatabase } from '../environment/records.ts';
import { createSeedTransfer } from '../environment/seed-transfer.ts';
import { createSeeds } from '../environment/seeds.ts';
import type { BerthService, ReadyService } from '../environment/service.ts';
import { createSourceKeeper } from '../environment/source-keeper.ts';
import { createSourceLocks } from '../environment/source-locks.ts';
import { createStorageRecords } from '../environment/storage-records.ts';
import { createWithoutEvaluation } from '../environment/without-evaluation.ts';
import type { StorageService } from '../environment/storage.ts';
import { hostSystem } from '../nix/evaluate.ts';
import { createNix, type Nix } from '../nix/nix.ts';
import { createWaitingFolders } from '../materialise/waiting-folders.ts';
import { physicalPath, type StorePath } from '../nix/store.ts';
import { aptChecksValidUntil } from '../sources/debian/mirrors.ts';
import { debianMirrors } from './debian-mirrors.ts';
import { createDebianPlain } from '../sources/debian/plain/plain.ts';
import { createDebianSource } from '../sources/debian/source.ts';
import { nixStorePaths } from '../sources/debian/store-paths.ts';
import { createNixpkgsSource, officialCache } from '../sources/nixpkgs/source.ts';
import type { LockedSource, Source } from '../sources/source.ts';
import { versionIndexFile } from '../sources/versions/version-index.ts';
import type { Images } from '../registry/disk/images.ts';
import type { ApiDependencies } from './api/api.ts';
import { composeLibraries, downloadFolders } from './compose-libraries.ts';
import { composeNixCache } from './compose-nix-cache.ts';
import { composeBuildOnPull } from './compose-build-on-pull.ts';
import { composeRegistry } from './compose-registry.ts';
import { builtPrefix } from '../registry/names/image-name.ts';
import type { Registry } from '../registry/registry.ts';
import { composeAttestations } from './compose-attestations.ts';
import { composeOutsidePackages } from './compose-packages.ts';
import { composeRegistryClient } from './compose-registry-client.ts';
import { composeImages } from './compose-images.ts';
import { parseReference } from '../oci/remote/reference.ts';
import { pushTo } from './push-to.ts';
import { createLoopbackRegistry } from './loopback-registry.ts';
import { composeEngines, findBusybox, networkOf, usualLimits } from './compose-engines.ts';
import { toolEnvironment, type Settings } from './settings.ts';
import { composeBuilder } from './compose-builder.ts';

export interface Composition {
  readonly service: BerthService;
  /** The part of the service that answers hits only. */
  readonly ready: ReadyService;
  readonly storage: StorageService;
  readonly images: ImageService;
  readonly keptImages: Images;
  /** What is served beside the API, by the path that it lies below. */
  readonly protocols: NonNullable<ApiDependencies['protocols']>;
  readonly builder: Builder;
  /** Whether something that runs needs this process even when nobody asks it anything. */
  readonly needed: () => Promise<boolean>;
  readonly close: () => Promise<void>;
}

/** How often it is written down which environments were used. */
const flushMs = 60_000;

export async function compose(settings: Settings, bus: EventBus, beginWork?: () => () => void): Promise<Composition> {
  const nix = composeNix(settings);
  const database = openStateDatabase(join(settings.home, 'state.db'));
  const records = createEnvironmentRecords(database);
  const storageRecords = createStorageRecords(database);
  const sourceKeeper = createSourceKeeper(nix, storageRecords, (path) => existsSync(physicalPath(nix.store, path)));
  const guard = createGarbageGuard();
  const sources = await composeSources(settings, nix);
  const locks = createSourceLocks({
    sources,
    defaultKind: settings.source,
    keep: (source, lockFile) => sourceKeeper.keep(source, lockFile),
    fallback: (kind) => sourceKeeper.newest(kind),
  });
  const builder = composeBuilder(settings, nix, database, bus);
  const build = createBuildStep({
    nix,
    records,
    builder,
    // A user who names caches of their own gets no other.
    cachesOf: (source) => (source === 'nixpkgs' && settings.substituters.length === 0 ? [officialCache] : []),
  });
  const plainFolder = join(settings.home, 'plain');
  const evaluator = createWithoutEvaluation({
    nix,
    debian: createDebianPlain({ nix, folder: plainFolder }),
    folder: plainFolder,
    reachable: (evaluated) => build.reachable(evaluated),
  });
  const packages = createPackageLocks({
    sources,
    locks,
    isThere: async (path) => (await nix.validPaths([path])).length > 0,
    outside: composeOutsidePackages(settings, nix, { sources, evaluator, build, guard, busybox: findBusybox }),
  });
  const evaluate = createEvaluateStep({
    nix: evaluator,
    records,
    locks,
    packages,
    reachable: (evaluated) => build.reachable(evaluated),
    inTurn: evaluationsInTurn(builder),
    evaluator: {
      code: nix.codeDigest(),
      system: hostSystem(),
      allowUnfree: settings.allowUnfree,
      allowImportFromDerivation: settings['evaluation.allowImportFromDerivation'],
    },
    nixPackages: (kind) => (kind === 'debian' ? ['nix-bin'] : ['nix']),
  });
  const generations = createGenerations(database);
  const loopback = createLoopbackRegistry();
  const isThere = (path: StorePath) => existsSync(physicalPath(nix.store, path));
  const folders = createWaitingFolders(isThere);
  const engines = composeEngines(settings, nix.store, bus, loopback, folders);
  const imageRecords = createImageRecords(database);
  const registry: Registry = composeRegistry(settings, bus, {
    ...(beginWork ? { beginWork } : {}),
    // Made further down: it needs what stands on the registry's blobs.
    onMissing: (...asked) => onPull.onMissing(...asked),
    storedName: (repository) => onPull.storedName(repository),
    readOnly: (repository) => repository.startsWith(builtPrefix),
  });
  const imageParts = composeImages(settings, {
    nix,
    records: imageRecords,
    sources,
    busybox: findBusybox(),
    // Layers are read here again and again, so they stay on this disk where the registry's blobs are elsewhere.
    ...(settings['registry.storage'] === 'disk' ? { blobs: registry.blobs } : {}),
  });
  const onPull = composeBuildOnPull(settings, {
    ...{ evaluator, sources, packages, sourceKeeper, build, guard, registry, step: imageParts.step },
    emit: bus.emitter('registry'),
    ...(beginWork ? { beginWork } : {}),
  });
  const berths = createBerths({
    records: createBerthRecords(database),
    generations,
    keep: settings['generations.keep'],
    // Shells know the default themselves.
    variables: settings.reload === 'notify' ? {} : { BERTH_RELOAD: settings.reload },
    environmentOf: (evaluated) => records.environment(environmentKey(evaluated)),
    store: nix.store,
    directory: join(settings.home, 'berths'),
    folders,
    refreshAgent: refreshLinks,
  });
  const nixAccess = createNixAccess(nix, join(settings.home, 'nix/c'));
  const libraryRecords = createLibraryRecords(database);
  const libraries = createLibraryStep(
    composeLibraries(settings, nix, { records: libraryRecords, guard, busybox: findBusybox() }),
  );
  const service = createService({
    findConfig,
    locks,
    packages,
    evaluate,
    build,
    libraries,
    guard,
    records,
    berths,
    generations,
    generationsKept: settings['generations.keep'],
    engines,
    mode: settings.mode,
    image: imageParts.step,
    system: hostSystem(),
    physicalPath: (path) => physicalPath(nix.store, path),
    engine: settings.engine === 'kubernetes' ? 'auto' : settings.engine,
    limits: usualLimits(settings),
    isolation: settings.isolation,
    networkOf: (engine) => networkOf(settings, engine),
    nixAccess: nixAccess.open,
    editPackages,
  });
  const images = createImages({
    prepare: (request, context) =>
      prepareHeld(request, context, { findConfig, evaluate: evaluate.run, build: build.run }, guard),
    locks,
    step: imageParts.step,
    libraries,
    guard,
    engines,
    system: hostSystem(),
    compression: settings['image.compression'],
    checkReference: (reference) => void parseReference(reference),
    push: (image, reference, context) => pushTo(composeRegistryClient(settings), image, reference, context),
    ...composeAttestations(settings, nix),
  });
  await berths.recover(engines, bus.emitter('daemon'));
  // A berth that runs is listened to, and its ports are published by this process.
  const berthsRun = async () => (await service.list()).some(({ state }) => state === 'running');
  const nixIsUsed = async () => {
    for (const { spec, engine: name } of berths.all()) {
      const engine = engines.find((candidate) => candidate.name === name);
      if (usesNix(spec) && (await engine?.inspect(spec.id))?.state === 'running') return true;
    }
    return false;
  };
  // Berths outlive the daemon that made them; what they speak to is started again.
  if (await nixIsUsed()) await nixAccess.open();
  const flushing = setInterval(() => records.flush(), flushMs);

  const seeds = createSeeds({
    nix,
    records: storageRecords,
    locks,
    findConfig,
    prepare: (request, context) =>
      prepareHeld(request, context, { findConfig, evaluate: evaluate.run, build: build.run }, guard),
    directory: join(settings.home, 'seeds'),
  });
  const storage = createStorage({
    nix,
    seeds,
    transfer: createSeedTransfer({
      nix,
      seeds,
      records: storageRecords,
      sources: sourceKeeper,
      guard,
      directory: join(settings.home, 'tmp'),
      environment: toolEnvironment(),
    }),
    collector: createGarbageCollector({
      nix,
      records,
      storage: storageRecords,
      berths,
      generations,
      build,
      guard,
      libraries: libraryRecords,
      keepDays: settings['gc.keepDays'],
      images: imageRecords,
      dropImage: async (digest) => {
        for (const engine of engines) if ((await engine.available()).available) await engine.removeImage(digest);
      },
      agingFolders: [
        join(settings.home, 'log/builds'),
        plainFolder,
        join(settings.home, 'debian/downloads'),
        ...downloadFolders(settings),
      ],
      berthsDirectory: join(settings.home, 'berths'),
      waiting: () => engines.flatMap((engine) => engine.pool?.().ids ?? []),
    }),
    berths,
    records,
    storage: storageRecords,
  });

  builder.takeUp();
  return {
    service,
    ready: service.ready,
    storage,
    images,
    protocols: { '/nix-cache': composeNixCache(settings, nix), '/v2': registry },
    keptImages: registry.images,
    builder,
    // A build that was taken up after a crash has nobody who waits for it.
    needed: async () => builder.statistics().running > 0 || berthsRun(),
    async close() {
      clearInterval(flushing);
      await Promise.all([onPull.close(), builder.close()]);
      for (const engine of engines) await engine.close?.();
      await loopback.close();
      await imageParts.close();
      await nixAccess.close();
      await registry.close();
      await nix.close();
      records.flush();
      database.close();
    },
  };
}

function composeNix(settings: Settings): Nix {
  return createNix({
    store:
      settings.store === 'system'
        ? { kind: 'system', root: '/' }
        : { kind: 'managed', root: settings['store.root'] ?? join(settings.home, 'store') },
    nixFolder: join(packageRoot, 'nix'),
    home: join(settings.home, 'nix'),
    settings: {
      substituters: settings.substituters,
      trustedPublicKeys: settings.trustedPublicKeys,
      ...(settings.netrcFile === null ? {} : { netrcFile: settings.netrcFile }),
      maxJobs: settings['build.maxJobs'],
      cores: settings['build.cores'],
      buildTimeoutSeconds: Math.ceil(settings['build.timeoutMs'] / 1000),
      allowImportFromDerivation: settings['evaluation.allowImportFromDerivation'],
      sandboxShell: findBusybox(),
    },
    environment: toolEnvironment(),
    limits: {
      timeMs: settings['evaluation.timeoutMs'],
      memoryBytes: settings['evaluation.memoryBytes'],
      outputBytes: settings['evaluation.maxOutputBytes'],
    },
  });
}

async function composeSources(settings: Settings, nix: Nix): Promise<Record<LockedSource['kind'], Source>> {
  const debian = createDebianSource({
    store: nix.store,
    storePaths: {
      add: nixStorePaths(nix.process).add,
      isValid: async (path) => (await nix.validPaths([path])).length > 0,
    },
    folder: join(settings.home, 'debian'),
    mirrors: () => debianMirrors(settings),
    checkValidUntil: settings['debian.checkValidUntil'] ?? (await aptChecksValidUntil()),
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    allowUnfree: settings.allowUnfree,
    aliasesFile: join(packageRoot, 'nix/debian/aliases.json'),
    ...(settings['debian.suite'] === null ? {} : { suite: settings['debian.suite'] }),
    ...(settings['debian.keyring'] === null ? {} : { keyrings: [settings['debian.keyring']] }),
  });
  const tree = { nix, folder: join(settings.home, 'nixpkgs') };
  const nixpkgs = createNixpkgsSource({
    ...tree,
    ...(settings['nixpkgs.url'] === null ? {} : { url: settings['nixpkgs.url'] }),
    ...(settings['nixpkgs.rev'] === null ? {} : { rev: settings['nixpkgs.rev'] }),
    ...(settings['versions.index'] === null
      ? {}
      : { index: versionIndexFile(settings['versions.index'], join(settings.home, 'nixpkgs/versions')) }),
  });
  return { debian, nixpkgs, path: createNixpkgsSource({ ...tree, kind: 'path' }) };
}
