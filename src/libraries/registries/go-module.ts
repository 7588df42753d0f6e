/**
 * Go modules: the client fetches the module and those that it needs, checked against Go's checksum database, then builds the
 * program without a network. The program is linked statically, so that it runs anywhere.
 */
import { noVersion } from './no-version.ts';
import { z } from 'zod';
import type { PackageRegistry } from './registry.ts';
import { clientFailed, type RegistrySession } from './session.ts';

const env = {
  GOTOOLCHAIN: 'local',
  GOFLAGS: '-modcacherw -trimpath -buildvcs=false',
  GOPATH: '/tmp/go',
  GOMODCACHE: '/work/modules',
  GOCACHE: '/work/cache',
  GOBIN: '/work/out/bin',
  CGO_ENABLED: '0',
};
const moduleSchema = z.object({ Version: z.string(), Path: z.string() });

export const goModuleRegistry: PackageRegistry = {
  kind: 'goModule',
  tools: [['golang-go', 'ca-certificates'], ['go']],
  async resolve(name, wanted, session) {
    const spec = `${name}@${wanted === '*' ? 'latest' : wanted}`;
    // A program may be in a folder of its module: the module is what the checksum database knows.
    const fetched = await session.run({ argv: ['go', 'mod', 'init', 'berth'], env });
    if (fetched.code !== 0) throw clientFailed('go mod init', fetched);
    const got = await session.run({ argv: ['go', 'get', spec], env }, { network: true });
    const said = got.tail.join('\n');
    if (got.code !== 0) {
      if (/unknown revision|no matching versions|invalid version/.test(said)) {
        throw noVersion('go', name, wanted, await versionsOf(name, session));
      }
      throw clientFailed(`go get ${spec}`, got);
    }
    const module = await session.run({
      argv: ['go', 'list', '-f', '{{with .Module}}{"Version":"{{.Version}}","Path":"{{.Path}}"}{{end}}', name],
      env,
    });
    if (module.code !== 0) throw clientFailed(`go list ${name}`, module);
    const { Version: version, Path: path } = moduleSchema.parse(JSON.parse(module.stdout));
    const sums = (await session.read('go.sum')).split('\n');
    const sum = sums.find((line) => line.startsWith(`${path} ${version} `))?.split(' ')[2];
    // Installed at the version itself, so that the module's own requirements count and none of ours; the first time with
    // the network, which only fetches: Go runs nothing of a module when it builds.
    const built = await session.run(
      { argv: ['go', 'install', '-ldflags=-s -w -buildid=', `${name}@${version}`], env },
      { network: true },
    );
    if (built.code !== 0) throw clientFailed(`go install ${name}@${version}`, built);
    const store = await session.freeze('out', `${name.replace(/^.*\//, '')}-${version}`);
    return { version, origin: 'go', pin: { path: store, sum: sum ?? '' } };
  },
};

/** A program's path may be of a folder in its module. */
async function versionsOf(name: string, session: RegistrySession): Promise<string[]> {
  for (let path = name; path.includes('/'); path = path.slice(0, path.lastIndexOf('/'))) {
    const all = await session.run({ argv: ['go', 'list', '-m', '-versions', path], env }, { network: true });
    const versions = all.stdout.trim().split(/\s+/).slice(1);
    if (all.code === 0 && versions.length > 0) return versions;
  }
  return [];
}
