/** Go: `go mod download` of what go.sum names, as the module cache that `go build` reads. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { readTextIfThere } from '../../core/files.ts';
import { shell, type LibraryManager, type LibraryPlan, type LockedArtifact } from '../library.ts';
import { escaped, parseGoSum, requireHashes, type GoModule } from './go-sum.ts';

const folder = '.berth-modules';
const target = '/opt/libraries/go';

export const go: LibraryManager = {
  name: 'go',
  lockFiles: ['go.sum'],
  programs: [{ name: 'go', packages: 'golang-go (Debian) or go' }],
  version: 1,
  question: { argv: ['go', 'env', 'GOPROXY'] },
  keepHint: 'go get NAME && go mod tidy',
  async plan(context) {
    const text = await readFile(context.lockFile, 'utf8');
    const goMod = await readTextIfThere(join(context.folder, 'go.mod'));
    if (goMod === undefined) {
      throw new BerthError('LIBRARY_LOCK_INVALID', `Beside ${context.lockFile} there is no go.mod.`);
    }
    const modules = parseGoSum(text, context.lockFile);
    requireHashes(goMod, modules, context.lockFile);
    const whole = modules.filter(({ zip }) => zip !== undefined);
    const proxy = proxyOf(context.answer);
    const env = {
      GOPROXY: proxy,
      // The hashes are go.sum's, which the proxy checks too.
      GOSUMDB: 'off',
      GOTOOLCHAIN: 'local',
      GOFLAGS: '-mod=mod -modcacherw',
      GOMODCACHE: `${context.target}/${folder}`,
      GOCACHE: '/tmp/go-cache',
      GOPATH: '/tmp/go',
    };
    const names = whole.map(({ path, version }) => `${path}@${version}`);
    return {
      inputs: [
        { path: 'go.mod', content: Buffer.from(goMod) },
        { path: 'go.sum', content: Buffer.from(text) },
      ],
      artifacts: modules.flatMap((module) => artifactsOf(proxy, module)),
      // Go asks when a version was made, and keeps the answer; it is not in go.sum.
      pages: Object.fromEntries(
        whole.map((module) => [`${urlOf(proxy, module)}.info`, JSON.stringify({ Version: module.version })]),
      ),
      fetch: [
        shell(`/berth/bin/busybox mkdir -p ${folder}`),
        ...(names.length === 0 ? [] : [{ argv: ['go', 'mod', 'download', ...names], env }]),
        // Modules of which only go.mod counts. Those that a pruned graph leaves out are not missed.
        shell('go mod graph >/dev/null 2>&1 || true', env),
      ],
      build: [],
      outputs: [folder],
      place: { mounts: [{ folder, target }], variables: { GOMODCACHE: target }, path: [] },
      packages: whole.map(({ path, version }) => ({
        name: path,
        version,
        purl: `pkg:golang/${path.toLowerCase()}@${encodeURIComponent(version)}`,
      })),
    } satisfies LibraryPlan;
  },
};

/** The first proxy of a list such as `https://one.example,direct`: only proxies give out what go.sum's hashes are over. */
function proxyOf(answer: string): string {
  const found = answer.split(/[,|]/).find((one) => /^https?:\/\//.test(one.trim()));
  if (found !== undefined) return found.trim().replace(/\/$/, '');
  throw new BerthError('LIBRARY_UNSUPPORTED', `Go is set to no module proxy (GOPROXY is \`${answer}\`).`, {
    hint: 'Modules come from a proxy; straight from repositories they are not fetched.',
  });
}

function urlOf(proxy: string, { path, version }: GoModule): string {
  return `${proxy}/${escaped(path)}/@v/${escaped(version)}`;
}

function artifactsOf(proxy: string, module: GoModule): LockedArtifact[] {
  const url = urlOf(proxy, module);
  const label = `${module.path} ${module.version}`;
  return [
    ...(module.mod ? [{ url: `${url}.mod`, label: `${label} (go.mod)`, integrity: module.mod }] : []),
    ...(module.zip ? [{ url: `${url}.zip`, label, integrity: module.zip }] : []),
  ];
}
