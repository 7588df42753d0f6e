/**
 * The one reader of settings: flag over variable over settings file over default. Nothing else in src/ reads
 * process.env for a setting.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { digestOfJson, type Digest } from '../core/digest.ts';
import { BerthError } from '../core/errors.ts';
import { isErrno } from '../core/files.ts';
import { nearestNames } from '../core/nearest.ts';
import { settingsTable, type SettingDefinition, type SettingName, type Settings } from './settings-table.ts';

export type { Settings, SettingName } from './settings-table.ts';

/** Settings as flags give them: text, or a value of the right type. */
export type SettingFlags = { readonly [Name in SettingName]?: unknown };

export interface SettingsInput {
  readonly flags?: SettingFlags;
  /** Default: the process's own. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Whether the process is root. Default: whether it is. */
  readonly root?: boolean;
  /** @returns the file's text, or undefined where there is none. Default: reads it. */
  readonly readFile?: (path: string) => string | undefined;
}

/** A unix socket's path holds at most 107 bytes on Linux; names in the folder take up to 17. */
const maxSocketDirectoryBytes = 90;

/**
 * Reads all settings.
 * @throws BerthError SETTING_INVALID, naming the setting, where its value came from, and what it takes
 */
export function readSettings(input: SettingsInput = {}): Settings {
  const env = input.env ?? process.env;
  const root = input.root ?? process.getuid?.() === 0;
  const home = env['HOME'] ?? homedir();
  const places = {
    home: absolute('home', env['BERTH_HOME'] || defaultHome(env, root, home)),
    socketDirectory: absolute(
      'socketDirectory',
      env['BERTH_SOCKET_DIRECTORY'] || defaultSocketDirectory(env, root, home),
    ),
  };
  if (Buffer.byteLength(places.socketDirectory) > maxSocketDirectoryBytes) {
    throw new BerthError(
      'SETTING_INVALID',
      `The folder for sockets, ${places.socketDirectory}, is longer than ${maxSocketDirectoryBytes} bytes, so that no unix socket fits into it.`,
      { hint: 'Set BERTH_SOCKET_DIRECTORY to a shorter folder, for example one in /run or /tmp.' },
    );
  }
  const file = readSettingsFile(settingsFiles(places.home, env, root, home), input.readFile ?? readFileIfThere);

  const resolved: Partial<Record<SettingName, unknown>> = {};
  for (const [name, definition] of Object.entries<SettingDefinition>(settingsTable) as [
    SettingName,
    SettingDefinition,
  ][]) {
    if (definition.variableOnly) continue;
    const variable = env[definition.variable];
    const flag = input.flags?.[name];
    if (flag !== undefined) resolved[name] = check(name, definition, flag, 'its flag');
    else if (variable !== undefined && variable !== '')
      resolved[name] = check(name, definition, variable, definition.variable);
    else if (file && name in file.values) resolved[name] = check(name, definition, file.values[name], file.path);
    else resolved[name] = definition.default;
  }
  return { ...resolved, ...places } as Settings;
}

/**
 * @returns a digest of the settings that a daemon's behaviour follows from, by which a client notices that the daemon
 *   was started with other ones
 */
export function settingsDigest(settings: Settings): Digest {
  return digestOfJson(settings);
}

/** @returns names of the settings in which the two differ */
export function settingsThatDiffer(a: Settings, b: Settings): SettingName[] {
  return (Object.keys(settingsTable) as SettingName[]).filter(
    (name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]),
  );
}

/** @returns the variables of the caller that `evaluation.passEnv` lets a config read */
export function passedVariables(
  names: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const entries = names.map((name) => [name, env[name]] as const);
  return Object.fromEntries(entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined));
}

/** @returns what programs that Berth runs get of this process's environment: where programs are, and proxies */
export function toolEnvironment(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const entries = Object.entries(env).filter(([name]) => /^(PATH|(https?|no|all)_proxy|SSL_CERT_FILE)$/i.test(name));
  // Where a user's PATH has no folders of the administrator, runtimes and mkfs are there nevertheless.
  const path = [...(env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  const unique = [...new Set(path.filter((folder) => folder !== ''))].join(':');
  return { ...Object.fromEntries(entries as [string, string][]), PATH: unique };
}

/** @returns the absolute path of a program, or undefined where there is none */
export function findOnPath(program: string, path = toolEnvironment()['PATH'] ?? ''): string | undefined {
  for (const folder of path.split(':')) {
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** @returns the folder of Docker's own configuration, which holds credentials of registries */
export function dockerConfigFolder(
  settings: Pick<Settings, 'docker.config'>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return settings['docker.config'] ?? (env['DOCKER_CONFIG'] || join(env['HOME'] ?? homedir(), '.docker'));
}

/** @returns the password of the key for signatures; cosign's variable counts where Berth's own is not set */
export function signingPassword(
  settings: Pick<Settings, 'signing.password'>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  return settings['signing.password'] ?? env['COSIGN_PASSWORD'];
}

/** Files and sockets whose places follow from the settings. */
export interface Locations {
  readonly socket: string;
  readonly hotSocket: string;
  readonly pidFile: string;
  readonly log: string;
  /** Locked for as long as a daemon lives. */
  readonly lock: string;
}

/** @returns where the daemon's files are */
export function locationsOf(settings: Pick<Settings, 'home' | 'socketDirectory'>): Locations {
  return {
    socket: join(settings.socketDirectory, 'daemon.sock'),
    hotSocket: join(settings.socketDirectory, 'hot.sock'),
    pidFile: join(settings.socketDirectory, 'daemon.pid'),
    log: join(settings.home, 'log/daemon.log'),
    lock: join(settings.home, 'daemon.lock'),
  };
}

function defaultHome(env: NonNullable<SettingsInput['env']>, root: boolean, home: string): string {
  return root ? '/var/lib/berth' : join(env['XDG_DATA_HOME'] || join(home, '.local/share'), 'berth');
}

function defaultSocketDirectory(env: NonNullable<SettingsInput['env']>, root: boolean, home: string): string {
  if (env['BERTH_HOME']) return join(env['BERTH_HOME'], 'run');
  if (root) return '/run/berth';
  return env['XDG_RUNTIME_DIR'] ? join(env['XDG_RUNTIME_DIR'], 'berth') : join(defaultHome(env, root, home), 'run');
}

function settingsFiles(
  berthHome: string,
  env: NonNullable<SettingsInput['env']>,
  root: boolean,
  home: string,
): string[] {
  const personal = join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'berth/settings.json');
  return [join(berthHome, 'settings.json'), personal, ...(root ? ['/etc/berth/settings.json'] : [])];
}

function readSettingsFile(paths: readonly string[], readFile: (path: string) => string | undefined) {
  for (const path of paths) {
    const content = readFile(path);
    if (content === undefined) continue;
    const values = flatten(path, parseJson(path, content));
    for (const name of Object.keys(values)) {
      const definition = (settingsTable as Record<string, SettingDefinition>)[name];
      if (definition && !definition.variableOnly) continue;
      const nearest = nearestNames(name, Object.keys(settingsTable));
      throw new BerthError(
        'SETTING_INVALID',
        `${path} has ${definition ? 'the setting' : 'an unknown setting'} \`${name}\`.`,
        {
          hint: definition
            ? `It can be set by the variable ${definition.variable} only.`
            : nearest[0]
              ? `Did you mean \`${nearest[0]}\`? docs/settings.md lists all.`
              : 'docs/settings.md lists all.',
          location: { file: path, line: lineOf(content, name) },
        },
      );
    }
    return { path, values };
  }
  return undefined;
}

function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw new BerthError('SETTING_INVALID', `The settings file ${path} cannot be read.`, { cause: error });
  }
}

function parseJson(path: string, content: string): unknown {
  try {
    return JSON.parse(content) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BerthError('SETTING_INVALID', `${path} is not valid JSON: ${reason}.`, { cause: error });
  }
}

function flatten(path: string, value: unknown, prefix = ''): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BerthError('SETTING_INVALID', `${path} must hold a JSON object.`);
  }
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const name = prefix + key;
    const isGroup =
      !(name in settingsTable) && Object.keys(settingsTable).some((known) => known.startsWith(`${name}.`));
    if (isGroup && typeof inner === 'object' && inner !== null) Object.assign(result, flatten(path, inner, `${name}.`));
    else result[name] = inner;
  }
  return result;
}

/** The line in which the last part of a dotted name is first written as a key, for the error's place. */
function lineOf(content: string, name: string): number {
  const key = JSON.stringify(name.split('.').at(-1));
  const index = content.indexOf(key);
  return index < 0 ? 1 : content.slice(0, index).split('\n').length;
}

function check(name: SettingName, definition: SettingDefinition, value: unknown, from: string): unknown {
  const result = definition.schema.safeParse(value);
  if (result.success) return result.data;
  const shown = definition.secret
    ? 'a value that is not allowed'
    : `the value ${JSON.stringify(value)}, which is not allowed`;
  throw new BerthError('SETTING_INVALID', `The setting \`${name}\` (${from}) has ${shown}.`, {
    hint: `It takes ${definition.values.replaceAll('`', '')}.`,
    details: { setting: name },
  });
}

function absolute(name: SettingName, path: string): string {
  if (!isAbsolute(path)) {
    const variable = settingsTable[name].variable;
    throw new BerthError('SETTING_INVALID', `${variable} is \`${path}\`, which is not an absolute path.`, {
      hint: `Set it to ${resolve(path)}.`,
      details: { setting: name },
    });
  }
  return resolve(path);
}
