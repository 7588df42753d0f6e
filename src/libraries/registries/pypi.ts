/** PyPI: pip says which wheels the package and its dependencies are (its installation report); Nix fetches them by hash. */
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { formatIntegrity, hexIntegrity } from '../integrity.ts';
import { noVersion } from './no-version.ts';
import type { PackageRegistry } from './registry.ts';
import { clientFailed } from './session.ts';

/** pip's documentation, "Installation Report"; the part that is read. */
const reportSchema = z.looseObject({
  install: z.array(
    z.looseObject({
      requested: z.boolean(),
      download_info: z.looseObject({
        url: z.string(),
        archive_info: z.looseObject({
          hash: z.string().optional(),
          hashes: z.record(z.string(), z.string()).optional(),
        }),
      }),
      metadata: z.looseObject({ name: z.string(), version: z.string() }),
    }),
  ),
});

export const pypiRegistry: PackageRegistry = {
  kind: 'pypi',
  tools: [
    ['python3', 'python3-pip'],
    ['python3', 'python3Packages.pip'],
  ],
  async resolve(name, wanted, session) {
    const spec = `${name}${specifier(wanted)}`;
    const env = { PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1', PIP_ROOT_USER_ACTION: 'ignore' };
    const flags = ['--dry-run', '--ignore-installed', '--only-binary', ':all:', '--no-cache-dir', '--quiet'];
    const made = await session.run(
      {
        argv: [
          'python3',
          '-m',
          'pip',
          'install',
          ...flags,
          '--break-system-packages',
          '--report',
          'report.json',
          '--',
          spec,
        ],
        env,
      },
      { network: true },
    );
    if (made.code !== 0) {
      const said = made.tail.join('\n');
      const versions = /from versions: ([^)]*)\)/.exec(said)?.[1];
      if (versions !== undefined) {
        throw noVersion('pypi', name, wanted, versions === 'none' ? [] : versions.split(/,\s*/));
      }
      throw clientFailed(`pip install ${spec}`, made);
    }
    const { install } = reportSchema.parse(JSON.parse(await session.read('report.json')));
    const files = install.map(({ requested, download_info: { url, archive_info }, metadata }) => {
      const [, old] = /^sha256=([0-9a-f]{64})$/.exec(archive_info.hash ?? '') ?? [];
      const integrity = hexIntegrity('sha256', archive_info.hashes?.['sha256'] ?? old ?? '');
      if (!integrity) {
        throw new BerthError('LIBRARY_LOCK_UNHASHED', `The registry has no SHA-256 for ${metadata.name}.`);
      }
      return { path: metadata.name, url, hash: formatIntegrity(integrity), main: requested };
    });
    const own = install.find(({ requested }) => requested);
    if (!own) throw clientFailed(`pip install ${spec}`, made);
    return { version: own.metadata.version, origin: 'pypi', pin: { files } };
  },
};

/** Versions in PEP 440's notation: `0.6.9` is exact, `0.6` the beginning of one, `^1.2` is npm's and is said in PEP 440's. */
function specifier(wanted: string): string {
  const text = wanted.trim();
  if (text === '*' || text === 'latest') return '';
  const caret = /^\^(\d+)((?:\.\d+)*)$/.exec(text);
  if (caret) return `>=${text.slice(1)},<${Number(caret[1]) + 1}`;
  if (/^[<>=!~]/.test(text)) return text.split(/[\s,]+(?=[<>=!~])/).join(',');
  return /^\d+(?:\.\d+)?$/.test(text) ? `==${text}.*` : `==${text}`;
}
