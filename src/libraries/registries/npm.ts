/** npm: the client makes a lock of the package with its dependencies; Nix fetches each tarball by the registry's hash. */
import { BerthError } from '../../core/errors.ts';
import { formatIntegrity } from '../integrity.ts';
import { packagesOf, parseNpmLock, withUrls } from '../npm/npm-lock.ts';
import { z } from 'zod';
import type { PackageRegistry } from './registry.ts';
import { clientFailed } from './session.ts';
import { noVersion } from './no-version.ts';

const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
const binSchema = z.looseObject({
  bin: z.union([z.record(z.string(), z.string()), z.string()]).optional(),
  version: z.string(),
  hasInstallScript: z.boolean().optional(),
});

export const npmRegistry: PackageRegistry = {
  kind: 'npm',
  tools: [['nodejs']],
  async resolve(name, wanted, session) {
    await session.write('package.json', JSON.stringify({ name: 'berth', private: true }));
    const spec = `${name}@${wanted}`;
    const made = await session.run(
      { argv: ['npm', 'install', '--package-lock-only', '--save-exact', ...quiet, '--', spec] },
      { network: true },
    );
    if (made.code !== 0) {
      const said = made.tail.join('\n');
      if (/E404|is not in this registry/.test(said)) throw noVersion('npm', name, wanted, []);
      if (/ETARGET|No matching version/.test(said)) {
        const all = await session.run({ argv: ['npm', 'view', name, 'versions', '--json'] }, { network: true });
        throw noVersion('npm', name, wanted, versionsIn(all.stdout));
      }
      throw clientFailed(`npm install ${spec}`, made);
    }
    const text = await session.read('package-lock.json');
    const registry = (await session.run({ argv: ['npm', 'config', 'get', 'registry'] })).stdout.trim();
    const lock = withUrls(parseNpmLock(text, 'package-lock.json'), registry);
    const { artifacts } = packagesOf(lock, `The lock of ${spec}`, 'x86_64-linux');
    const byUrl = new Map(artifacts.map((artifact) => [artifact.url, artifact]));
    const files = Object.entries(lock.packages).flatMap(([path, entry]) => {
      const artifact = byUrl.get(entry.resolved ?? '');
      return artifact ? [{ path, url: artifact.url, hash: formatIntegrity(artifact.integrity) }] : [];
    });
    const own = binSchema.parse(lock.packages[`node_modules/${name}`]);
    const bins = typeof own.bin === 'string' ? { [name.replace(/^.*\//, '')]: own.bin } : (own.bin ?? {});
    if (Object.keys(bins).length === 0) {
      throw new BerthError('LIBRARY_UNSUPPORTED', `The npm package ${name} has no programs: it is a library.`, {
        hint: 'Put libraries into a lock file of the project: see docs/libraries.md.',
      });
    }
    return { version: own.version, origin: 'npm', pin: { files, programs: bins } };
  },
};

function versionsIn(text: string): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    return [];
  }
}
