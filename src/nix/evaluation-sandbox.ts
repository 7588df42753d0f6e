/**
 * The sandbox in which a config is evaluated: bubblewrap's namespaces with no network and no files but those named here,
 * limits by prlimit, and strace, which sees what is read. A config is untrusted code; Nix's own restricted evaluation is
 * the second fence, not the first.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface EvaluationLimits {
  /** Milliseconds. Default 60 s. */
  readonly timeMs: number;
  /** Bytes of address space. Default 4 GiB. */
  readonly memoryBytes: number;
  /** Bytes of the result and of messages. Default 16 MiB. */
  readonly outputBytes: number;
}

export const defaultLimits: EvaluationLimits = {
  timeMs: 60_000,
  memoryBytes: 4 * 1024 ** 3,
  outputBytes: 16 * 1024 ** 2,
};

/** Where things lie within the sandbox. */
export const inside = {
  nix: '/run/berth/nix',
  input: '/run/berth/in',
  output: '/run/berth/out',
  socket: '/run/berth/daemon',
} as const;

export interface SandboxOptions {
  /** The project's folder, shown read-only at its own path; null for what needs none. */
  readonly directory: string | null;
  /** Berth's `nix` folder. */
  readonly nixFolder: string;
  /** Holds request.json. */
  readonly inputFolder: string;
  /** The trace is written here. */
  readonly outputFolder: string;
  /** The folder on the host that holds store paths. */
  readonly storeFolder: string;
  /** nix-daemon's socket. */
  readonly socket: string;
  /** Files and folders that Nix's programs need, at their own paths. */
  readonly needs: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly limits: EvaluationLimits;
  readonly traced: boolean;
  /** The command that is run, and traced. */
  readonly command: readonly string[];
}

/** @returns bwrap's arguments */
export function sandboxArguments(options: SandboxOptions): string[] {
  const args = [
    ...['--unshare-all', '--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...['--hostname', 'berth', '--clearenv'],
    ...Object.entries(options.environment).flatMap(([name, value]) => ['--setenv', name, value]),
    ...systemFolders().flatMap((entry) =>
      entry.link === undefined ? ['--ro-bind', entry.path, entry.path] : ['--symlink', entry.link, entry.path],
    ),
    ...['--ro-bind-try', '/etc/ld.so.cache', '/etc/ld.so.cache'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--dir', '/run/berth'],
    ...options.needs.flatMap((path) => ['--ro-bind', path, path]),
    ...['--ro-bind', options.storeFolder, '/nix/store'],
    ...(options.directory === null ? [] : ['--ro-bind', options.directory, options.directory]),
    ...['--ro-bind', options.nixFolder, inside.nix],
    ...['--ro-bind', options.inputFolder, inside.input],
    ...['--bind', options.outputFolder, inside.output],
    ...['--bind', options.socket, inside.socket],
    ...['--chdir', '/', '--'],
  ];
  const { memoryBytes, timeMs } = options.limits;
  const limits = [
    ...['prlimit', `--as=${String(memoryBytes)}`, '--core=0', `--fsize=${String(traceBytes)}`],
    // The clock's limit ends it first; this one also holds when Berth itself is gone.
    `--cpu=${String(Math.ceil(timeMs / 1000) + 5)}`,
  ];
  const tracer = options.traced ? [...onOneCpu(), ...straceCommand(join(inside.output, 'trace'))] : [];
  return [...args, ...limits, ...tracer, ...options.command];
}

let turn = 0;

/**
 * Tracer and traced take turns and never run at the same time: on one CPU a system call's two stops cost a switch, on two
 * they cost wake-ups of idle cores. Measured on a virtual machine of two cores: 0.5 s instead of 1.1 s for a config of ten
 * packages. Evaluations go round the CPUs.
 */
function onOneCpu(): string[] {
  const cpus = allowedCpus();
  const cpu = cpus[turn++ % cpus.length];
  return cpu === undefined ? [] : ['taskset', '--cpu-list', String(cpu)];
}

/** @returns the CPUs that this process may use, by number: `0-3,8` in /proc/self/status */
function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number);
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

// A trace of nixpkgs' own evaluation has less than 10 MB.
const traceBytes = 512 * 1024 ** 2;

function straceCommand(file: string): string[] {
  return [
    'strace',
    '--seccomp-bpf',
    '-f',
    '-y',
    '-qq',
    '-e',
    'trace=%file,getdents64',
    '-e',
    'signal=none',
    '-o',
    file,
  ];
}

// What programs need to start. /usr/share, /usr/local and /etc stay outside.
function systemFolders(): { path: string; link?: string }[] {
  const folders = ['/usr/bin', '/usr/sbin', '/usr/lib', '/usr/lib32', '/usr/lib64', '/usr/libexec'].filter(isThere);
  const found: { path: string; link?: string }[] = folders.map((path) => ({ path }));
  for (const path of ['/bin', '/sbin', '/lib', '/lib32', '/lib64']) {
    const status = lstatSync(path, { throwIfNoEntry: false });
    if (status?.isSymbolicLink()) found.push({ path, link: `usr${path}` });
    else if (status) found.push({ path });
  }
  return found;
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
