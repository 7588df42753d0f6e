/** Reads a built environment (the output of nix/environment.nix) into Berth's words. */
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { EvaluatedConfig } from '../nix/evaluated-config.ts';
import { digestOfJson } from '../core/digest.ts';
import { isErrno } from '../core/files.ts';
import { isStorePath, physicalPath, type Store, type StorePath } from '../nix/store.ts';
import type { Closure, Environment } from './environment.ts';

/**
 * @param storePath the environment's output, valid in the store
 * @param closure its closure
 * @returns the environment, with its digest
 */
export function readEnvironment(
  store: Store,
  storePath: StorePath,
  evaluated: EvaluatedConfig,
  closure: Closure,
): Environment {
  const folder = physicalPath(store, storePath);
  const fhs = readLinkIfThere(join(folder, 'fhs'));
  const content = {
    storePath,
    fhs: fhs !== undefined && isStorePath(fhs) ? fhs : null,
    variables: parseVariables(readFileSync(join(folder, 'variables'), 'utf8')),
    shellHook: evaluated.shellHook,
    functions: readIfThere(join(folder, 'functions')),
    command: evaluated.command,
    ports: evaluated.ports,
    closure,
  };
  return { digest: digestOfJson(content), ...content };
}

/** NUL-separated `K=V`, as in /proc/PID/environ. */
function parseVariables(text: string): Record<string, string> {
  const entries = text.split('\0').flatMap((entry): [string, string][] => {
    const equals = entry.indexOf('=');
    return equals > 0 ? [[entry.slice(0, equals), entry.slice(equals + 1)]] : [];
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

function readLinkIfThere(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL')) return undefined;
    throw error;
  }
}
