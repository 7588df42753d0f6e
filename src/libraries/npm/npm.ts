/** npm: `npm ci` of a package-lock.json, install scripts afterwards without a network. */
import { readFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { readTextIfThere } from '../../core/files.ts';
import type { InstallCommand, LibraryInput, LibraryManager, LibraryPlan, ManagerContext } from '../library.ts';
import { packagesOf, parseNpmLock, withUrls, type NpmLock } from './npm-lock.ts';

const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];

export const npm: LibraryManager = {
  name: 'npm',
  lockFiles: ['package-lock.json', 'npm-shrinkwrap.json'],
  programs: [
    { name: 'node', packages: 'nodejs' },
    { name: 'npm', packages: 'npm (with nodejs)' },
  ],
  version: 1,
  question: { argv: ['npm', 'config', 'get', 'registry'] },
  keepHint: 'npm install --package-lock-only NAME',
  async plan(context) {
    const lock = withUrls(parseNpmLock(await readFile(context.lockFile, 'utf8'), context.lockFile), context.answer);
    const folders = foldersOf(lock);
    return {
      inputs: await inputsOf(lock, context),
      ...packagesOf(lock, context.lockFile, context.system),
      pages: {},
      fetch: [npmCommand(['ci', '--ignore-scripts', ...quiet])],
      build: needsScripts(lock) ? [npmCommand(['rebuild', ...quiet])] : [],
      outputs: folders,
      place: {
        mounts: folders.map((folder) => ({ folder, target: posix.join(context.target, folder) })),
        variables: {},
        path: folders.map((folder) => posix.join(context.target, folder, '.bin')),
      },
    } satisfies LibraryPlan;
  },
};

/** The variables say it rather than flags, so that npm runs of install scripts get the same. */
function npmCommand(args: readonly string[]): InstallCommand {
  return {
    argv: ['npm', ...args],
    env: {
      npm_config_cache: '/tmp/npm-cache',
      npm_config_replace_registry_host: 'never',
      npm_config_maxsockets: '24',
      // Headers of the environment's own Node.js, where it has any: node-gyp would download others.
      npm_config_nodedir: '/usr',
      npm_config_progress: 'false',
      CI: 'true',
    },
  };
}

function needsScripts(lock: NpmLock): boolean {
  return Object.values(lock.packages).some((entry) => entry.hasInstallScript === true);
}

/** The folders of packages that the install makes: the project's, and those of workspaces that need other versions. */
function foldersOf(lock: NpmLock): string[] {
  const folders = Object.keys(lock.packages).flatMap((path) => {
    const at = `/${path}`.indexOf('/node_modules/');
    return at === -1 ? [] : [`${path.slice(0, at)}node_modules`];
  });
  return [...new Set(folders)].sort();
}

/** The lock, and the manifests of the project and of its workspaces; their other files are no part of an install. */
async function inputsOf(lock: NpmLock, { folder, lockFile }: ManagerContext): Promise<LibraryInput[]> {
  const own = Object.keys(lock.packages).filter((path) => !path.split('/').includes('node_modules'));
  const manifests = await Promise.all(
    own.map(async (path) => {
      if (posix.normalize(path).startsWith('..') || posix.isAbsolute(path)) {
        throw new BerthError(
          'LIBRARY_LOCK_INVALID',
          `${lockFile} names the package \`${path}\` outside of its folder.`,
        );
      }
      const file = join(folder, path, 'package.json');
      const text = await readTextIfThere(file);
      if (text === undefined) {
        throw new BerthError('LIBRARY_LOCK_INVALID', `${lockFile} is of the package ${file}, which is not there.`);
      }
      return { path: posix.join(path, 'package.json'), content: Buffer.from(text) };
    }),
  );
  const text = Buffer.from(`${JSON.stringify(lock.document, null, 2)}\n`);
  return [{ path: lockFile.slice(dirname(lockFile).length + 1), content: text }, ...manifests];
}
