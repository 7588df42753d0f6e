/** The flags that say what berth to make, shared by up, run and shell. */
import { InvalidArgumentError, type Command, Option } from 'commander';
import { BerthError } from '../core/errors.ts';
import type { PublishedPort, UpRequest } from '../environment/service.ts';
import { parseBytes } from '../daemon/settings-table.ts';
import { passedVariables, type Settings } from '../daemon/settings.ts';
import type { CommonOptions, Environment } from './context.ts';

export interface EnvironmentOptions extends CommonOptions {
  readonly nix?: true;
  readonly retry?: true;
}

export interface UpOptions extends EnvironmentOptions {
  readonly name?: string;
  readonly mode?: NonNullable<UpRequest['mode']>;
  readonly engine?: NonNullable<UpRequest['engine']>;
  readonly memory?: number | null;
  readonly cpus?: number | null;
  readonly pids?: number | null;
  readonly network?: NonNullable<UpRequest['network']>;
  readonly isolation?: NonNullable<UpRequest['isolation']>;
  readonly publish?: readonly PublishedPort[];
}

export function addEnvironmentOptions(command: Command): Command {
  return command
    .option('--nix', 'with Nix itself, so that nix-shell works inside')
    .option('--retry', 'try even what has failed several times in a row just now');
}

export function addUpOptions(command: Command): Command {
  return addEnvironmentOptions(command)
    .addOption(
      new Option('--mode <mode>', 'how the environment gets into the container').choices([
        'shell',
        'image',
        'registry',
        'auto',
      ]),
    )
    .addOption(
      new Option('--engine <engine>', 'what runs the container').choices(['embedded', 'docker', 'kubernetes', 'auto']),
    )
    .option('--memory <size>', 'memory limit: 512M, 2G, none', orNone(bytes))
    .option('--cpus <number>', 'CPU limit: 1.5, none', orNone(positive))
    .option('--pids <number>', 'limit of processes and threads: 512, none', orNone(positive))
    .addOption(new Option('--network <kind>', 'network of the container').choices(['none', 'host', 'bridge']))
    .addOption(
      new Option('--isolation <kind>', 'what it sees of the store: all, or its closure only').choices([
        'whole',
        'closure',
      ]),
    )
    .option('-p, --publish <host:container>', 'publish a port on loopback; may be repeated', publish, []);
}

/** @returns the request that the flags and the path say */
export function upRequest(path: string, options: UpOptions, settings: Settings, env: Environment): UpRequest {
  const limits = {
    ...(options.memory === undefined ? {} : { memoryBytes: options.memory }),
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    ...(options.pids === undefined ? {} : { pids: options.pids }),
  };
  return {
    ...environmentRequest(path, options, settings, env),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.mode === undefined ? {} : { mode: options.mode }),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    ...(options.network === undefined ? {} : { network: options.network }),
    ...(options.isolation === undefined ? {} : { isolation: options.isolation }),
    ...(options.publish && options.publish.length > 0 ? { ports: options.publish } : {}),
  };
}

/** @returns the request for an environment alone */
export function environmentRequest(path: string, options: EnvironmentOptions, settings: Settings, env: Environment) {
  const passEnv = passedVariables(settings['evaluation.passEnv'], env);
  return {
    path,
    ...(options.nix ? { withNix: true } : {}),
    ...(options.retry ? { retry: true } : {}),
    ...(Object.keys(passEnv).length > 0 ? { passEnv } : {}),
  };
}

/**
 * @returns the command after `--`
 * @throws BerthError USAGE where there is none
 */
export function requiredCommand(afterDashes: readonly string[] | undefined, example: string): readonly string[] {
  if (afterDashes && afterDashes.length > 0) return afterDashes;
  throw new BerthError('USAGE', 'The command to run is missing.', { hint: `Write it after \`--\`: \`${example}\`.` });
}

function orNone<T>(parse: (text: string) => T): (text: string) => T | null {
  return (text) => (text === 'none' ? null : parse(text));
}

function bytes(text: string): number {
  const value = parseBytes(text);
  if (typeof value === 'number' && value > 0) return value;
  throw new InvalidArgumentError('It takes bytes, or a number with K, M or G.');
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It takes a number above 0.');
}

function publish(text: string, before: readonly PublishedPort[]): PublishedPort[] {
  const match = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  const host = Number(match?.[1]);
  const container = Number(match?.[2] ?? match?.[1]);
  const valid = (port: number): boolean => port >= 1 && port <= 65535;
  if (!match || !valid(host) || !valid(container))
    throw new InvalidArgumentError('It takes HOST:CONTAINER, for example 8080:80.');
  return [...before, { host, container }];
}
