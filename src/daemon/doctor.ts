/** Looks at the host: what Berth needs, what is there, and exactly what to do about what is missing. Changes nothing. */
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exec } from '../core/exec.ts';
import { aptMirrors } from '../sources/debian/mirrors.ts';
import { bindingAvailability } from '../engine/pool/bind-mounts.ts';
import { createMountHelper } from '../engine/pool/mount-helper.ts';
import { readElf } from '../engine/minimal-image/elf.ts';
import { storeStatistics } from '../nix/store-statistics.ts';
import { locationsOf, type Settings } from './settings.ts';

export interface Check {
  readonly name: string;
  /** `missing`: something does not work without it; `warning`: something works worse or not at all in some cases. */
  readonly status: 'ok' | 'warning' | 'missing';
  /** What was found. */
  readonly detail: string;
  /** What to do, where there is something. */
  readonly fix?: string;
}

export interface DoctorReport {
  /** Whether nothing is missing. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

export interface DoctorOptions {
  readonly settings: Settings;
  /** The folder that holds the package: bin/, native/. */
  readonly packageRoot: string;
  readonly signal?: AbortSignal;
  /** @returns whether the host has apt. Default: looks for it. */
  readonly hasApt?: () => Promise<boolean>;
}

interface Tool {
  readonly name: string;
  readonly program: string;
  readonly versionArguments: readonly string[];
  /** Debian's package; and what it is called elsewhere. */
  readonly debianPackage: string;
  readonly elsewhere: string;
  readonly why: string;
}

const tools: readonly Tool[] = [
  {
    name: 'nix',
    program: 'nix-store',
    versionArguments: ['--version'],
    debianPackage: 'nix-bin',
    elsewhere: 'nix',
    why: 'evaluates configs and keeps the store',
  },
  {
    name: 'bubblewrap',
    program: 'bwrap',
    versionArguments: ['--version'],
    debianPackage: 'bubblewrap',
    elsewhere: 'bubblewrap',
    why: 'sandboxes evaluation',
  },
  {
    name: 'strace',
    program: 'strace',
    versionArguments: ['--version'],
    debianPackage: 'strace',
    elsewhere: 'strace',
    why: 'observes what an evaluation reads',
  },
  {
    name: 'gpgv',
    program: 'gpgv',
    versionArguments: ['--version'],
    debianPackage: 'gpgv',
    elsewhere: 'gnupg',
    why: "checks the Debian archive's signature",
  },
];

/** Free space below which a build is likely to fail. */
const littleSpaceBytes = 2 * 2 ** 30;

/** Runs all checks, at the same time. */
export async function runDoctor(options: DoctorOptions): Promise<DoctorReport> {
  const install = await installer(options.hasApt ?? (() => canRun('/usr/bin/apt-get')));
  const results = await Promise.all([
    ...tools.map((tool) => checkTool(tool, install)),
    checkRuntime(options.settings, install),
    checkNetwork(install),
    checkBusybox(install),
    checkKeyring(options.settings, install),
    checkAgent(options.packageRoot),
    checkUserNamespaces(install),
    checkCgroups(),
    checkPool(options.settings, options.packageRoot),
    checkDocker(options.settings, install),
    checkMirror(options.settings, options.signal),
    checkStore(options.settings),
    checkSpace(options.settings),
    checkDaemon(options.settings),
  ]);
  return { ok: results.every((check) => check.status !== 'missing'), checks: results };
}

/** @returns how to install a package here, in words to copy */
async function installer(hasApt: () => Promise<boolean>): Promise<Install> {
  if (!(await hasApt())) return (_, elsewhere) => `Install \`${elsewhere}\` with this system's package manager.`;
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  return (debianPackage) => `${sudo}apt-get install --no-install-recommends ${debianPackage}`;
}

type Install = (debianPackage: string, elsewhere: string) => string;

async function versionOf(program: string, args: readonly string[]): Promise<string | undefined> {
  for (const candidate of [program, `/usr/sbin/${program}`, `/sbin/${program}`]) {
    if (program.startsWith('/') && candidate !== program) continue;
    try {
      const { code, stdout, stderr } = await exec(candidate, args, { timeoutMs: 10_000 });
      if (code === 0) return (stdout || stderr).split('\n')[0]?.trim() ?? '';
    } catch {
      // Not there, under this name.
    }
  }
  return undefined;
}

async function checkTool(tool: Tool, install: Install): Promise<Check> {
  const found = await versionOf(tool.program, tool.versionArguments);
  if (found !== undefined) return { name: tool.name, status: 'ok', detail: found };
  const detail = `\`${tool.program}\` is not there; it ${tool.why}.`;
  return { name: tool.name, status: 'missing', detail, fix: install(tool.debianPackage, tool.elsewhere) };
}

async function checkRuntime(settings: Settings, install: Install): Promise<Check> {
  const name = 'OCI runtime';
  const candidates = settings['oci.runtime'] === null ? ['crun', 'runc'] : [settings['oci.runtime']];
  for (const candidate of candidates) {
    const found = await versionOf(candidate, ['--version']);
    if (found !== undefined) return { name, status: 'ok', detail: found };
  }
  const detail = `${candidates.join(' or ')} is not there; it runs containers of the engine embedded.`;
  return { name, status: 'missing', detail, fix: install('crun', 'crun') };
}

async function checkBusybox(install: Install): Promise<Check> {
  const name = 'busybox';
  const fix = install('busybox-static', 'a static busybox');
  const path = await which('busybox');
  if (path === undefined) {
    return { name, status: 'missing', detail: 'There is none; the minimal image is made from it.', fix };
  }
  if (readElf(await readFile(path))?.isStatic !== true) {
    return {
      name,
      status: 'missing',
      detail: `${path} is linked dynamically; the minimal image needs a static one.`,
      fix,
    };
  }
  return { name, status: 'ok', detail: `${path}, static` };
}

async function checkNetwork(install: Install): Promise<Check> {
  const name = 'slirp4netns';
  const found = await versionOf(name, ['--version']);
  if (found !== undefined) return { name, status: 'ok', detail: found };
  const detail = 'It is not there; berths of the engine embedded have no way to the network without it.';
  return { name, status: 'warning', detail, fix: install(name, name) };
}

async function checkKeyring(settings: Settings, install: Install): Promise<Check> {
  const path = settings['debian.keyring'] ?? '/usr/share/keyrings/debian-archive-keyring.gpg';
  if (await exists(path)) return { name: 'Debian keyring', status: 'ok', detail: path };
  return {
    name: 'Debian keyring',
    status: 'missing',
    detail: `${path} is not there; the source debian checks signatures with it.`,
    fix: install('debian-archive-keyring', 'debian-archive-keyring'),
  };
}

async function checkAgent(packageRoot: string): Promise<Check> {
  const machine = process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : process.arch;
  const folder = join(packageRoot, 'native/bin', `${machine}-linux`);
  if (await exists(folder)) return { name: 'agent', status: 'ok', detail: folder };
  return {
    name: 'agent',
    status: 'missing',
    detail: `There is no agent for ${machine} in ${dirname(folder)}.`,
    fix: 'Use an x86_64 or aarch64 machine, or build it with `make -C native`.',
  };
}

async function checkUserNamespaces(install: Install): Promise<Check> {
  const name = 'user namespaces';
  const root = process.getuid?.() === 0;
  const works = (await versionOf('unshare', ['--user', '--map-root-user', 'true'])) !== undefined;
  if (works && (root || (await which('newuidmap')) !== undefined)) return { name, status: 'ok', detail: 'They work.' };
  if (works) {
    const detail = '`newuidmap` is not there, so that a berth of an ordinary user has one user only.';
    return { name, status: 'warning', detail, fix: install('uidmap', 'shadow (newuidmap)') };
  }
  return {
    name,
    status: root ? 'warning' : 'missing',
    detail: 'This kernel, or the container that this runs in, does not allow them.',
    fix: 'sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1',
  };
}

async function checkCgroups(): Promise<Check> {
  const name = 'cgroups';
  const wanted = ['cpu', 'memory', 'pids'];
  const unified = await readOr('/sys/fs/cgroup/cgroup.controllers', '');
  const legacy = (await readOr('/proc/cgroups', ''))
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([controller = '', hierarchy]) => controller !== '' && !controller.startsWith('#') && hierarchy !== '0')
    .map(([controller = '']) => controller);
  const found = new Set([...unified.split(/\s+/), ...legacy]);
  const missing = wanted.filter((controller) => !found.has(controller));
  const layout =
    unified !== '' && legacy.length === 0 ? 'version 2' : legacy.length > 0 ? 'version 1 or hybrid' : 'none';
  if (missing.length === 0) return { name, status: 'ok', detail: `${layout}, with ${wanted.join(', ')}` };
  return {
    name,
    status: 'warning',
    detail: `${layout}; without ${missing.join(', ')}, so that these limits cannot be set.`,
    fix: 'Enable the controllers for this user or container, for example with systemd: Delegate=yes.',
  };
}

/** Whether started containers can be given an environment, or each berth's is created when it is asked for. */
async function checkPool(settings: Settings, packageRoot: string): Promise<Check> {
  const name = 'pool';
  if (settings['pool.max'] === 0) return { name, status: 'ok', detail: 'None is wanted: pool.max is 0.' };
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const helper = createMountHelper(join(packageRoot, `native/bin/${machine}-linux/berth-bind`), '/nonexistent');
  try {
    const { available, reason } = await bindingAvailability(helper);
    if (available) return { name, status: 'ok', detail: `Containers can wait for an environment: ${reason}.` };
    const fix = 'Run the daemon as root on Linux 5.12 or later, where a start of 0.1 s instead of 0.01 s matters.';
    return { name, status: 'warning', detail: `Each berth is created and started: ${reason}.`, fix };
  } finally {
    helper.close();
  }
}

async function checkDocker(settings: Settings, install: Install): Promise<Check> {
  const name = 'Docker';
  const socket = settings['docker.socket'] ?? '/var/run/docker.sock';
  if (await exists(socket)) return { name, status: 'ok', detail: `${socket} is there.` };
  const status = settings.engine === 'docker' ? 'missing' : 'warning';
  return {
    name,
    status,
    detail: `There is no ${socket}; only the engine docker needs it.`,
    fix: `${install('docker.io', 'docker')}, or set BERTH_DOCKER_SOCKET.`,
  };
}

async function checkMirror(settings: Settings, signal: AbortSignal | undefined): Promise<Check> {
  const name = 'Debian mirror';
  const status = settings.source === 'debian' ? 'missing' : 'warning';
  const url = settings['debian.mirror'] ?? (await aptMirrors()).main[0];
  if (url === undefined) {
    return { name, status, detail: "The host's apt names no Debian mirror.", fix: 'Set BERTH_DEBIAN_MIRROR.' };
  }
  const shown = withoutCredentials(url);
  try {
    const timeout = AbortSignal.timeout(5000);
    const response = await fetch(`${url.replace(/\/$/, '')}/dists/stable/InRelease`, {
      method: 'HEAD',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (response.status < 500) return { name, status: 'ok', detail: `${shown} answers.` };
    return {
      name,
      status: 'warning',
      detail: `${shown} answers with status ${response.status}.`,
      fix: 'Try later, or another mirror.',
    };
  } catch {
    const fix = 'Check the network, or set BERTH_DEBIAN_MIRROR. What is in the store keeps working.';
    return { name, status: 'warning', detail: `${shown} does not answer.`, fix };
  }
}

function withoutCredentials(url: string): string {
  try {
    const parsed = new URL(url);
    parsed.username = '';
    parsed.password = '';
    return parsed.href;
  } catch {
    return url;
  }
}

async function checkStore(settings: Settings): Promise<Check> {
  const name = 'store';
  const root = settings.store === 'system' ? '/' : (settings['store.root'] ?? join(settings.home, 'store'));
  const database = join(root, 'nix/var/nix/db/db.sqlite');
  if (!(await exists(database))) {
    if (settings.store === 'managed')
      return { name, status: 'ok', detail: `${root} is made with the first environment.` };
    return {
      name,
      status: 'missing',
      detail: `The host has no Nix store: ${database}.`,
      fix: 'Install Nix, or set BERTH_STORE=managed.',
    };
  }
  try {
    const { paths, bytes } = storeStatistics(root);
    return { name, status: 'ok', detail: `${root} holds ${paths} paths, ${(bytes / 2 ** 20).toFixed(0)} MiB.` };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      name,
      status: 'missing',
      detail: `The database of the store ${root} cannot be read: ${reason}.`,
      fix: `nix-store --store ${root} --verify --check-contents --repair`,
    };
  }
}

async function checkSpace(settings: Settings): Promise<Check> {
  const name = 'disk';
  const { bavail, bsize, ffree } = await statfs(await nearestExisting(settings.home));
  const free = bavail * bsize;
  const detail = `${(free / 2 ** 30).toFixed(1)} GiB free for ${settings.home}`;
  if (free >= littleSpaceBytes && ffree !== 0) return { name, status: 'ok', detail };
  return {
    name,
    status: 'warning',
    detail,
    fix: 'Free some space, for example with `berth gc`, or set BERTH_HOME to a larger disk.',
  };
}

async function checkDaemon(settings: Settings): Promise<Check> {
  const { socket, pidFile } = locationsOf(settings);
  const pid = (await readOr(pidFile, '')).trim();
  const alive = pid !== '' && (await exists(`/proc/${pid}`));
  const detail = alive ? `Process ${pid} answers on ${socket}.` : 'None runs; commands start it when they need it.';
  return { name: 'daemon', status: 'ok', detail };
}

async function which(program: string): Promise<string | undefined> {
  for (const folder of ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']) {
    if (await canRun(join(folder, program))) return join(folder, program);
  }
  return undefined;
}

async function canRun(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

async function readOr(path: string, fallback: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return fallback;
  }
}

async function nearestExisting(path: string): Promise<string> {
  return (await exists(path)) || path === '/' ? path : nearestExisting(dirname(path));
}
