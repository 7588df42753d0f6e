/**
 * Views of the real Debian archive, and a root in which their programs run as they would in a container: nothing of the
 * host is in it but /dev, /proc and the store. Downloads, locks and the store are kept in the shared test home, so that
 * a second run needs no network.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exec, type ExecResult } from '../../src/core/exec.ts';
import { readTextIfThere, writeFileAtomically } from '../../src/core/files.ts';
import { createNixProcess, type NixProcess, programsIn } from '../../src/nix/nix-process.ts';
import { physicalPath, physicalStoreDirectory, type Store, type StorePath } from '../../src/nix/store.ts';
import { aptMirrors, withSecurity } from '../../src/sources/debian/mirrors.ts';
import { createDebianSource } from '../../src/sources/debian/source.ts';
import { nixStorePaths } from '../../src/sources/debian/store-paths.ts';
import type { LockedSource, PreparedSource, Source } from '../../src/sources/source.ts';
import { testHome } from './test-home.ts';

const nixFolder = join(import.meta.dirname, '../../nix');

/** The store that all Debian tests share. */
export const debianStore: Store = { kind: 'managed', root: join(testHome, 'store') };

/** Nix over the shared store. */
export const debianNix: NixProcess = createNixProcess({
  store: debianStore,
  programs: programsIn(),
  home: join(testHome, 'nix'),
  settings: { substituters: [], trustedPublicKeys: [], maxJobs: 4 },
  environment: { PATH: process.env['PATH'] ?? '' },
});

/** @returns the source as the daemon would make it, over the shared store */
export function debianSource(): Source {
  return createDebianSource({
    store: debianStore,
    storePaths: nixStorePaths(debianNix),
    folder: join(testHome, 'debian'),
    mirrors: async () => withSecurity(await aptMirrors()),
    // The mirror's sid may be older than its Release file allows; the tests are not about that.
    checkValidUntil: false,
    aliasesFile: join(nixFolder, 'debian/aliases.json'),
  });
}

const context = { emit: () => undefined };
const prepared = new Map<string, Promise<PreparedSource>>();

/** @returns the suite, locked once and kept; `anew` asks the mirror again */
export async function debianPrepared(suite: string, anew = false): Promise<PreparedSource> {
  if (anew) prepared.delete(suite);
  const known = prepared.get(suite) ?? prepareSuite(suite, anew);
  prepared.set(suite, known);
  return known;
}

const lockLifetimeMs = 7 * 24 * 3600 * 1000;

async function prepareSuite(suite: string, anew: boolean): Promise<PreparedSource> {
  const source = debianSource();
  const file = join(testHome, `debian-${suite}.lock.json`);
  const kept = await readTextIfThere(file);
  const fresh = kept !== undefined && Date.now() - (await stat(file)).mtimeMs < lockLifetimeMs;
  if (kept !== undefined && fresh && !anew) {
    try {
      return await source.prepare(JSON.parse(kept) as LockedSource, context);
    } catch {
      // Written by another version of the source: locked anew below.
    }
  }
  const locked = await source.lock({ suite }, context);
  await writeFileAtomically(file, JSON.stringify(locked));
  return source.prepare(locked, context);
}

/** @returns the suite's lock, as a project's berth.lock has it */
export async function debianLock(suite: string): Promise<LockedSource> {
  await debianPrepared(suite);
  return JSON.parse(await readFile(join(testHome, `debian-${suite}.lock.json`), 'utf8')) as LockedSource;
}

/** @returns the suite's lock for arm64, kept as the other is */
export async function debianArm64Lock(suite: string): Promise<LockedSource> {
  const file = join(testHome, `debian-${suite}-arm64.lock.json`);
  const kept = await readTextIfThere(file);
  if (kept !== undefined && Date.now() - (await stat(file)).mtimeMs < lockLifetimeMs) {
    try {
      const locked = JSON.parse(kept) as LockedSource;
      await debianSource().prepare(locked, context);
      return locked;
    } catch {
      // Written by another version of the source: locked anew below.
    }
  }
  const locked = await debianSource().lock({ suite, architecture: 'arm64' }, context);
  await writeFileAtomically(file, JSON.stringify(locked));
  return locked;
}

/** Evaluates an expression in which `pkgs` is the suite's package set; it must give JSON. */
export async function evaluateDebian(suite: string, expression: string, anew = false): Promise<unknown> {
  return evaluateDebianWith(suite, {}, expression, anew);
}

/** The same with some of the package set's arguments replaced. */
export async function evaluateDebianWith(
  suite: string,
  overrides: Readonly<Record<string, string | boolean>>,
  expression: string,
  anew = false,
): Promise<unknown> {
  const { nix } = await debianPrepared(suite, anew);
  const pkgs = `import ${nixFolder}/debian (builtins.fromJSON ${nixString(JSON.stringify({ ...nix, ...overrides }))})`;
  const args = ['--eval', '--strict', '--json', '--read-write-mode', '-E', `let pkgs = ${pkgs}; in ${expression}`];
  return JSON.parse(await debianNix.require('nix-instantiate', args)) as unknown;
}

export interface DebianView {
  readonly suite: string;
  /** The view's store path. */
  readonly view: StorePath;
  /** Where it is on the host. */
  readonly root: string;
}

/**
 * Builds the FHS view of packages.
 * @param packages names as in `pkgs.NAME`
 */
export async function debianView(suite: string, packages: readonly string[]): Promise<DebianView> {
  const list = packages.map((name) => `pkgs.${nixString(name)}`).join(' ');
  const build = async (anew: boolean) => {
    const drv = await evaluateDebian(suite, `(pkgs.fhsView { packages = [ ${list} ]; }).drvPath`, anew);
    return (await debianNix.require('nix-store', ['--realise', String(drv)])).trim() as StorePath;
  };
  // What an older lock names may have left the mirror: then today's release is taken, once.
  const view = await build(false).catch(() => build(true));
  return { suite, view, root: physicalPath(debianStore, view) };
}

export interface RunOptions {
  /** Host folders or files to show, read-write: path on the host to path in the root. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly network?: boolean;
  readonly timeoutMs?: number;
}

/**
 * Runs a bash script in a root that has the view at /usr, as a container has it, with the variables of stdenv/setup.
 * The root is new and empty each time; the script starts in /tmp.
 */
export async function runInDebianRoot(view: DebianView, script: string, options: RunOptions = {}): Promise<ExecResult> {
  const setup = await readFile(join(nixFolder, 'debian/stdenv/setup'), 'utf8');
  const prelude = `${setup}\nset -euo pipefail\n`;
  return exec('bwrap', [...(await rootArguments(view, options)), '/bin/bash', '-c', prelude + script], {
    env: { PATH: process.env['PATH'] ?? '' },
    timeoutMs: options.timeoutMs ?? 120_000,
  });
}

async function rootArguments(view: DebianView, options: RunOptions): Promise<string[]> {
  const etc = await readdir(join(view.root, 'etc'));
  // The engine gives a container its own.
  const hosts = join(testHome, 'hosts');
  await writeFileAtomically(hosts, '127.0.0.1 localhost\n::1 localhost\n');
  return [
    // As root without a user namespace: a new one would know one user only.
    ...(process.getuid?.() === 0
      ? ['--unshare-ipc', '--unshare-pid', '--unshare-uts']
      : ['--unshare-user', '--unshare-ipc', '--unshare-pid', '--unshare-uts']),
    ...(options.network ? [] : ['--unshare-net']),
    '--die-with-parent',
    // Some tests act as another user, which root may in a container.
    ...(process.getuid?.() === 0 ? ['--cap-add', 'ALL'] : []),
    ...['--tmpfs', '/', '--dir', '/nix', '--dir', '/etc'],
    ...['--ro-bind', physicalStoreDirectory(debianStore), '/nix/store'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--chmod', '1777', '/tmp'],
    ...['--dir', '/run/berth', '--symlink', view.view, '/run/berth/fhs', '--symlink', 'run/berth/fhs/usr', '/usr'],
    ...['bin', 'sbin', 'lib', 'lib64'].flatMap((name) => ['--symlink', `usr/${name}`, `/${name}`]),
    ...etc.flatMap((name) => ['--symlink', `/run/berth/fhs/etc/${name}`, `/etc/${name}`]),
    ...['--ro-bind', hosts, '/etc/hosts'],
    ...['--dir', '/root', '--dir', '/var/tmp', '--chdir', '/tmp'],
    ...Object.entries(options.mounts ?? {}).flatMap(([host, inside]) => ['--bind', host, inside]),
    ...['--clearenv', '--setenv', 'HOME', '/root', '--setenv', 'LANG', 'C.UTF-8', '--setenv', 'TERM', 'xterm'],
    ...['--setenv', 'berthFhs', view.view],
  ];
}

/** @returns the text as a Nix string literal */
export function nixString(text: string): string {
  return `"${text.replace(/[\\"$]/g, '\\$&')}"`;
}
