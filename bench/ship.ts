/**
 * Rebuild and ship after adding one small package to an environment of 500 MB: Berth, to a Docker server and to a registry,
 * against assembling the whole image as one archive and `docker load`.  npx vite-node bench/ship.ts [RUNS]
 */
import { spawn } from 'node:child_process';
import { createWriteStream, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createFlow } from '../test/support/flow.ts';
import { startDockerServer } from '../test/support/docker-server.ts';
import { physicalStoreDirectory } from '../src/nix/store.ts';
import { storeEntries } from '../src/oci/tar/store-entries.ts';
import { type TarEntry, tarStream } from '../src/oci/tar/tar-stream.ts';
import { createHash } from 'node:crypto';
import { series, writeResult } from './support/measure.ts';

const runs = Number(process.argv[2] ?? 5);
/** Small packages, one a run: each is new to the environment that had those before it. */
const small = ['jq', 'tree', 'file', 'patch', 'bc', 'time', 'less', 'zip', 'unzip', 'rsync', 'pv', 'moreutils'];
const large = ['python3', 'git', 'nodejs', 'gcc', 'perl', 'cmake'];
const config = (packages: readonly string[]) => `{ pkgs, ... }: { packages = with pkgs; [ ${packages.join(' ')} ]; }\n`;

const docker = await startDockerServer();
if ('unavailable' in docker) throw new Error(docker.unavailable);
const flow = await createFlow({
  variables: { BERTH_ENGINE: 'docker', BERTH_DOCKER_SOCKET: docker.socketPath, BERTH_NETWORK: 'none' },
});
const store = { kind: 'managed' as const, root: flow.settings['BERTH_STORE_ROOT'] ?? '' };

/** The whole image as people assemble it: one layer with everything, and `docker load`. */
async function wholeImage(paths: readonly string[]): Promise<number> {
  const start = performance.now();
  const file = join(flow.home, 'whole.tar');
  const layerFile = join(flow.home, 'layer.tar');
  const hash = createHash('sha256');
  const hashed = async function* () {
    for await (const piece of tarStream(storeEntries(physicalStoreDirectory(store), paths))) {
      hash.update(piece);
      yield piece;
    }
  };
  await pipeline(Readable.from(hashed()), createWriteStream(layerFile));
  const diffId = `sha256:${hash.digest('hex')}`;
  const image = { architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [diffId] } };
  const json = Buffer.from(JSON.stringify(image));
  const manifest = [{ Config: 'config.json', RepoTags: ['whole:latest'], Layers: ['layer.tar'] }];
  const { statSync, createReadStream } = await import('node:fs');
  const entry = (path: string, content: Buffer): TarEntry => ({
    ...{ type: 'file', path: Buffer.from(path), mode: 0o644, size: content.length, content },
  });
  const layer: TarEntry = {
    ...{ type: 'file', path: Buffer.from('layer.tar'), mode: 0o644, size: statSync(layerFile).size },
    content: () => createReadStream(layerFile, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>,
  };
  const archive = tarStream([
    entry('config.json', json),
    entry('manifest.json', Buffer.from(JSON.stringify(manifest))),
    layer,
  ]);
  await pipeline(Readable.from(archive), createWriteStream(file));
  await new Promise<void>((resolve, reject) => {
    const args = ['-H', `unix://${(docker as { socketPath: string }).socketPath}`, 'load', '-q', '-i', file];
    const child = spawn('docker', args, { stdio: 'ignore' });
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`docker load: ${String(code)}`))));
  });
  rmSync(file);
  rmSync(layerFile);
  return performance.now() - start;
}

try {
  const project = await flow.project({ 'config.nix': config(large) });
  const build = (to: string[], compression?: 'none') =>
    flow.images.build({ path: project, to, ...(compression ? { compression } : {}) }, flow.context('ship'));
  // What registries and layouts lack is the same: blobs by their digests.
  const layout = `oci:${join(flow.home, 'registry')}`;
  const first = await build(['docker'], 'none');
  await build([layout], 'none');
  await wholeImage((await flow.service.environment({ path: project }, flow.context('ship'))).environment.closure.paths);
  console.log(`environment: ${first.closure.paths} paths, ${Math.round(first.closure.bytes / 1e6)} MB`);

  const samples: Record<string, number[]> = {
    docker: [],
    registry: [],
    whole: [],
    dockerBytes: [],
    registryBytes: [],
    newBytes: [],
  };
  let known = new Set(
    (await flow.service.environment({ path: project }, flow.context('ship'))).environment.closure.paths,
  );
  for (let run = 0; run < Math.min(runs, small.length); run += 1) {
    const packages = [...large, ...small.slice(0, run + 1)];
    // The package itself is there, as in a seeded store: what is measured is Berth's work and not a mirror's.
    const elsewhere = await flow.project({
      'config.nix': `{ pkgs, ... }: { packages = [ pkgs.${small[run] ?? ''} ]; }\n`,
    });
    await flow.service.environment({ path: elsewhere }, flow.context('seed'));
    writeFileSync(join(project, 'config.nix'), config(packages));
    const start = performance.now();
    const shipped = await build([layout], 'none');
    samples['registry']?.push(performance.now() - start);
    samples['registryBytes']?.push(shipped.written[0]?.movedBytes ?? NaN);
    const again = performance.now();
    const toDocker = await build(['docker'], 'none');
    // The build was done for the first target: its time counts here too.
    const made = shipped.timingsMs.total - shipped.timingsMs.ship;
    samples['docker']?.push(performance.now() - again + made);
    samples['dockerBytes']?.push(toDocker.written[0]?.movedBytes ?? NaN);
    const { environment } = await flow.service.environment({ path: project }, flow.context('ship'));
    const fresh = environment.closure.paths.filter((path) => !known.has(path));
    let bytes = 0;
    for await (const piece of tarStream(storeEntries(physicalStoreDirectory(store), fresh))) bytes += piece.length;
    samples['newBytes']?.push(bytes);
    known = new Set(environment.closure.paths);
    samples['whole']?.push(
      (await wholeImage(environment.closure.paths)) + shipped.timingsMs.evaluate + shipped.timingsMs.build,
    );
    console.log(
      JSON.stringify(shipped.timingsMs),
      JSON.stringify(toDocker.timingsMs),
      toDocker.written[0],
      shipped.written[0]?.movedBytes,
      bytes,
    );
  }
  const all = {
    registry: series('rebuild, and send the blobs that are not there', 'ms', samples['registry'] ?? []),
    docker: series('rebuild, and have Docker pull what it lacks', 'ms', samples['docker'] ?? []),
    whole: series('rebuild, assemble the whole image, docker load', 'ms', samples['whole'] ?? []),
    registryBytes: series('bytes of blobs sent', 'bytes', samples['registryBytes'] ?? []),
    dockerBytes: series('bytes of layers that Docker pulled', 'bytes', samples['dockerBytes'] ?? []),
    newBytes: series('bytes of the new store paths as a tar', 'bytes', samples['newBytes'] ?? []),
  };
  const round = (value: number) => Math.round(value * 100) / 100;
  const figures = {
    wholeToRegistry: round(all.whole.median / all.registry.median),
    wholeToDocker: round(all.whole.median / all.docker.median),
    registryBytesToNew: round(all.registryBytes.median / all.newBytes.median),
    dockerBytesToNew: round(all.dockerBytes.median / all.newBytes.median),
  };
  writeResult({
    bench: 'ship',
    question:
      'How long does it take to have a rebuilt image where it runs, after one small package was added to 500 MB?',
    series: all,
    figures,
    bounds: [
      { what: 'assembling and docker load, over Berth to Docker', bound: '>= 5', met: figures.wholeToDocker >= 5 },
      {
        what: 'assembling and docker load, over Berth to a registry',
        bound: '>= 5',
        met: figures.wholeToRegistry >= 5,
      },
      { what: 'Berth to Docker', bound: '< 2 s', met: all.docker.median < 2000 },
      { what: 'Berth to a registry', bound: '< 2 s', met: all.registry.median < 2000 },
      {
        what: 'bytes sent to a registry over bytes of the new paths',
        bound: '<= 1.2',
        met: figures.registryBytesToNew <= 1.2,
      },
      {
        what: 'bytes that Docker pulled over bytes of the new paths',
        bound: '<= 1.2',
        met: figures.dockerBytesToNew <= 1.2,
      },
    ],
    notes: [
      'Docker 20.10 keeps unpacked layers by ChainID and no blobs: it pulls again every layer above the first new one.',
      'The small package is in the store before; its view, environment and image are made anew.',
    ],
  });
} finally {
  await flow.close();
  await docker.stop();
}
