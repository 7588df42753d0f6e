/** Starts Nix's programs: which ones, against which store, with which settings. Every other file here asks this one. */
import { existsSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec, type ExecOptions, type ExecResult } from '../core/exec.ts';
import { BerthError } from '../core/errors.ts';
import { declineBuilds, nixConfig, type NixSettings } from './nix-settings.ts';
import { storePathOf, type Store, type StorePath } from './store.ts';

/** Nix's stable commands, those that all versions have. */
export type NixProgram = 'nix' | 'nix-store' | 'nix-instantiate' | 'nix-daemon' | 'nix-env' | 'nix-prefetch-url';

/** Where Nix's programs are. */
export interface NixPrograms {
  /**
   * The command that runs a program: `['/usr/bin/nix-store']`, or with a loader or wrapper before it. The words are
   * followed by the program's arguments.
   */
  command(program: NixProgram): readonly string[];
  /** Files and folders that the programs need beside the system's own libraries; shown in the evaluation's sandbox. */
  readonly needs: readonly string[];
}

/** @returns the programs of a folder, for example `/usr/bin`, or of PATH when it is absent */
export function programsIn(directory?: string): NixPrograms {
  return {
    command: (program) => [directory === undefined ? program : join(directory, program)],
    needs: directory === undefined || directory.startsWith('/usr/') ? [] : [directory],
  };
}

export interface NixProcessOptions {
  readonly store: Store;
  readonly programs: NixPrograms;
  /** A folder of Berth's for Nix's own configuration, caches and sockets; nothing of the host's is read. */
  readonly home: string;
  readonly settings: NixSettings;
  /** Variables that Nix's programs get beside those that Berth sets: PATH, proxies. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface NixProcess {
  readonly store: Store;
  readonly home: string;
  readonly settings: NixSettings;
  readonly programs: NixPrograms;
  /** Makes the files that Nix's programs need; run does so by itself. */
  prepare(): void;
  /** The environment of a program of that kind. */
  environment(kind: 'client' | 'daemon' | 'evaluator'): Record<string, string>;
  /** The command that runs a program, as programs.command says it, with what keeps it off the host's own store. */
  command(program: NixProgram): readonly string[];
  /** Where Nix itself is, when it is installed in the host's own store. */
  hostStorePath(): StorePath | undefined;
  /** Options that make a program use the store. */
  storeArguments(): string[];
  /** Runs a program against the store to its end. A non-zero exit is a result. */
  run(program: NixProgram, args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Like run, for what must not fail: any other exit is an INTERNAL error that quotes Nix. */
  require(program: NixProgram, args: readonly string[], options?: ExecOptions): Promise<string>;
}

export function createNixProcess(options: NixProcessOptions): NixProcess {
  const home = options.home;
  const buildHook = join(home, 'decline-builds');
  const environment = (kind: 'client' | 'daemon' | 'evaluator'): Record<string, string> => ({
    ...options.environment,
    HOME: join(home, 'home'),
    // Nix wants a name even of a user that has no account, as in many containers.
    USER: 'berth',
    XDG_CACHE_HOME: join(home, 'cache'),
    XDG_CONFIG_HOME: join(home, 'home'),
    XDG_CONFIG_DIRS: join(home, 'home'),
    XDG_DATA_HOME: join(home, 'home'),
    XDG_STATE_HOME: join(home, 'home'),
    NIX_CONFIG: nixConfig(options.settings, kind, buildHook, options.store.kind),
    // The host's nix.conf is for the host's store; and Nix looks for channels in the host's /nix, whoever may read it.
    ...(options.store.kind === 'managed'
      ? { NIX_CONF_DIR: join(home, 'home'), NIX_STATE_DIR: join(home, 'state') }
      : {}),
  });
  const storeArguments = () => (options.store.kind === 'managed' ? ['--store', options.store.root] : []);

  let installed: { path: StorePath | undefined } | undefined;
  const hostStorePathOfNix = () => {
    installed ??= {
      path: hostStorePath(options.programs.command('nix-store')[0] ?? '', options.environment['PATH'] ?? ''),
    };
    return installed.path;
  };
  const commandOf = (program: NixProgram) => [
    ...(options.store.kind === 'managed' && hostStorePathOfNix() === undefined ? hidingHostStore(options.store) : []),
    ...options.programs.command(program),
  ];

  let prepared = false;
  const prepare = () => {
    if (prepared) return;
    mkdirSync(join(home, 'home'), { recursive: true });
    // Written beside and renamed: other processes of the same home may be running it.
    const temporary = `${buildHook}.${String(process.pid)}`;
    writeFileSync(temporary, declineBuilds, { mode: 0o755 });
    renameSync(temporary, buildHook);
    prepared = true;
  };

  const run = async (program: NixProgram, args: readonly string[], runOptions: ExecOptions = {}) => {
    prepare();
    const [command = program, ...words] = commandOf(program);
    // Nix ends its builds and releases its locks when it is told to end; when it is killed, they go on.
    const ending = { graceMs: 10_000 };
    return exec(command, [...words, ...args, ...storeArguments()], {
      env: environment('client'),
      ...ending,
      ...runOptions,
    });
  };

  return {
    store: options.store,
    home,
    settings: options.settings,
    programs: options.programs,
    prepare,
    environment,
    command: commandOf,
    hostStorePath: hostStorePathOfNix,
    storeArguments,
    run,
    async require(program, args, runOptions) {
      const result = await run(program, args, runOptions);
      if (result.code === 0) return result.stdout;
      throw new BerthError('INTERNAL', `\`${program} ${args[0] ?? ''}\` failed: ${lastLine(result.stderr)}`, {
        details: { stderr: result.stderr.slice(-4000) },
      });
    },
  };
}

/**
 * Nix 2.8 looks at the host's /nix/store even where its store is elsewhere, and moves there what a failed build has left.
 * Where the host has a /nix that Nix itself is not installed in, it is run where the managed store is in its place.
 */
function hidingHostStore(store: Store): string[] {
  if (!existsSync('/nix')) return [];
  const folder = join(store.root, 'nix');
  mkdirSync(folder, { recursive: true });
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-current-user', '--keep-caps'];
  // The shell becomes the program, so that signals reach it.
  const script = 'mount --bind "$0" /nix && exec "$@"';
  return ['unshare', ...user, '--mount', '--propagation', 'private', 'sh', '-c', script, folder];
}

/** @returns the store path of the host's own store that the program is installed in, or undefined */
function hostStorePath(command: string, path: string): StorePath | undefined {
  const files = command.includes('/') ? [command] : path.split(':').map((folder) => join(folder, command));
  const file = files.find((candidate) => existsSync(candidate));
  return file === undefined ? undefined : storePathOf(realpathSync(file));
}

function lastLine(text: string): string {
  return text.trim().split('\n').pop() ?? '';
}
