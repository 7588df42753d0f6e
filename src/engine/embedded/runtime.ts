/** The OCI runtimes that the embedded engine can drive, and how each is started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';

export interface Runtime {
  readonly name: 'crun' | 'runc';
  /** Name on the PATH, or path. */
  readonly program: string;
  /**
   * `berth`: processes are put into Berth's control groups before the runtime starts, which then manages none.
   * `runtime`: the runtime joins the groups itself.
   */
  readonly groupsBy: 'berth' | 'runtime';
  /** Hides the version 2 tree of a hybrid layout from the runtime: crun 1.8 refuses to work beside one. */
  readonly hidesUnified: boolean;
}

/** @returns the ways of running containers that are worth a try, fastest first */
export function runtimeCandidates(programs: readonly string[]): Runtime[] {
  return programs.map((program) =>
    /(^|\/)crun[^/]*$/.test(program)
      ? {
          name: 'crun',
          program,
          groupsBy: 'berth',
          hidesUnified: process.getuid?.() === 0 && existsSync('/sys/fs/cgroup/unified/cgroup.procs'),
        }
      : { name: 'runc', program, groupsBy: 'runtime', hidesUnified: false },
  );
}

export interface RuntimeStart {
  readonly id: string;
  readonly bundle: string;
  readonly pidFile: string;
  /** Where the runtime keeps its own state. */
  readonly stateDirectory: string;
}

/** @returns the runtime's own command that starts a container in the background */
export function startCommand(runtime: Runtime, start: RuntimeStart): string[] {
  return [
    runtime.program,
    ...(runtime.groupsBy === 'berth' ? ['--cgroup-manager', 'disabled'] : []),
    ...['--root', start.stateDirectory],
    ...['run', '--detach', '--bundle', start.bundle, '--pid-file', start.pidFile, start.id],
  ];
}

/** Joins the groups (arguments up to `--`) and becomes the rest of the arguments. */
const joinScript = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"';
/** The same in a mount namespace of its own, in which the version 2 tree is not there. */
const hideScript = 'umount -l /sys/fs/cgroup/unified && exec "$@"';

/** @returns the command, behind what joins the groups and hides from the runtime what it cannot bear */
function wrapped(
  runtime: Runtime,
  command: readonly string[],
  joinFiles: readonly string[],
  busybox: string,
): string[] {
  const hidden = runtime.hidesUnified
    ? [busybox, 'unshare', '--mount', busybox, 'sh', '-c', hideScript, 'sh', ...command]
    : [...command];
  return runtime.groupsBy === 'berth' && joinFiles.length > 0
    ? [busybox, 'sh', '-c', joinScript, 'sh', ...joinFiles, '--', ...hidden]
    : hidden;
}

/**
 * Runs a start command. Resolves when the runtime has ended well.
 * @param joinFiles files of the groups to join first
 * @param busybox the static busybox, whose shell joins the groups
 */
export async function startContainer(
  runtime: Runtime,
  command: readonly string[],
  joinFiles: readonly string[],
  busybox: string,
): Promise<void> {
  const [program = '', ...args] = wrapped(runtime, command, joinFiles, busybox);
  // stdout goes nowhere: what the container inherits must not keep a pipe of ours open.
  await afterRuntime(spawn(program, args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] }), runtime);
}

/** Resolves when the runtime has ended well; rejects with what it said. */
async function afterRuntime(child: ChildProcess, runtime: Runtime): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      if (said.length < 16_384) said += chunk.toString('utf8');
    });
    child.on('error', (error) =>
      reject(
        isErrno(error, 'ENOENT')
          ? new BerthError('TOOL_MISSING', `The OCI runtime ${runtime.program} is not installed.`, { cause: error })
          : error,
      ),
    );
    // What is still to be read of its messages comes before `close`, which a process left behind could hold up.
    let late: NodeJS.Timeout | undefined;
    child.on('close', (code) => {
      clearTimeout(late);
      if (code !== 0) reject(refused(runtime, code, said));
    });
    child.on('exit', (code) => {
      if (code === 0) resolve();
      else late = setTimeout(() => reject(refused(runtime, code, said)), 500);
    });
  });
}

function refused(runtime: Runtime, code: number | null, said: string): BerthError {
  const why = said.trim().split('\n').at(-1) ?? '';
  return new BerthError('LAUNCH_FAILED', `${runtime.name} did not start the container: ${why}`, {
    details: { runtime: runtime.program, code, said },
  });
}
