/**
 * A berth's folder holds its environments as numbered generations, each a folder that is written once, and the link
 * `current`, whose rename is the switch. The berth can write the folder too: so each generation is written through a
 * descriptor that was opened without following a link, and nothing that is found there is trusted.
 *
 *     current -> generation-3            fhs -> current/fhs
 *     generation-3/environment           variables, `K=V` each ended by NUL
 *     generation-3/hook, functions       shell code, where there is any
 *     generation-3/fhs                   link to the FHS view
 *     generation-3/change                what is new in it, in a line for people
 */
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../core/files.ts';
import type { StorePath } from '../nix/store.ts';

/** What a berth needs of an environment. */
export interface BerthContent {
  readonly variables: Readonly<Record<string, string>>;
  readonly shellHook: string;
  /** Bash functions that the environment's set-up defined. */
  readonly functions: string;
  readonly fhs: StorePath | null;
  readonly command: readonly string[] | null;
}

/** The FHS folder of the minimal image, for environments that bring none: busybox as /bin/sh and /usr/bin/env. */
export const defaultFhs = '/berth/fhs';

/** The variable by which a process in the berth knows which generation it has. */
export const generationVariable = 'BERTH_GENERATION';

const folderPattern = /^generation-([1-9]\d{0,8})$/;

/** @returns the name of a generation's folder */
export function generationFolder(generation: number): string {
  return `generation-${generation}`;
}

/**
 * Writes a generation's folder, in place of one that a crash left. Nobody sees it before `switchGeneration`.
 * @param change what is new in it, in a line for people
 * @throws what writing throws, ENOSPC for example; then nothing of it is left
 */
export function writeGeneration(
  runDirectory: string,
  generation: number,
  content: Omit<BerthContent, 'command'>,
  change?: string,
): void {
  const folder = join(runDirectory, generationFolder(generation));
  makeAnew(folder);
  const place = openSync(folder, constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const files = {
      ...generationFiles(generation, content),
      ...(change === undefined ? {} : { change: `${change}\n` }),
    };
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(`/proc/self/fd/${place}/${name}`, text, { flag: 'wx', mode: 0o644 });
    }
    symlinkSync(content.fhs ?? defaultFhs, `/proc/self/fd/${place}/fhs`);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  } finally {
    closeSync(place);
  }
}

/** @returns the files of a generation's folder by their names; beside them lies the link `fhs` */
export function generationFiles(generation: number, content: Omit<BerthContent, 'command'>): Record<string, string> {
  const variables = { ...content.variables, [generationVariable]: String(generation) };
  return {
    environment: nulSeparated(Object.entries(variables).map(([key, value]) => `${key}=${value}`)),
    ...(content.shellHook.trim() === '' ? {} : { hook: `${content.shellHook}\n` }),
    // Read by interactive shells and by the hook only: a command that is run needs no functions and should not wait.
    ...(content.functions.trim() === '' ? {} : { functions: `${content.functions}\n` }),
  };
}

/** Lets what starts from now on have a generation that was written: one rename. */
export function switchGeneration(runDirectory: string, generation: number): void {
  replaceLink(join(runDirectory, 'current'), generationFolder(generation));
  const fhs = join(runDirectory, 'fhs');
  if (linkTarget(fhs) !== 'current/fhs') replaceLink(fhs, 'current/fhs');
}

/** @returns the generation that the berth's folder leads to; undefined where it leads to none */
export function currentGeneration(runDirectory: string): number | undefined {
  const match = folderPattern.exec(linkTarget(join(runDirectory, 'current')) ?? '');
  return match ? Number(match[1]) : undefined;
}

/** Removes the folders of generations that are not to be kept. */
export function dropGenerations(runDirectory: string, keep: ReadonlySet<number>): void {
  for (const name of readdirSync(runDirectory)) {
    const match = folderPattern.exec(name);
    if (match && !keep.has(Number(match[1]))) rmSync(join(runDirectory, name), { recursive: true, force: true });
  }
}

function makeAnew(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o755 });
  }
}

function replaceLink(link: string, target: string): void {
  try {
    symlinkSync(target, link);
    return;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  rmSync(`${link}.new`, { recursive: true, force: true });
  symlinkSync(target, `${link}.new`);
  try {
    renameSync(`${link}.new`, link);
  } catch (error) {
    // The berth put a folder in its place.
    if (!isErrno(error, 'EISDIR', 'ENOTEMPTY', 'EEXIST')) throw error;
    rmSync(link, { recursive: true, force: true });
    renameSync(`${link}.new`, link);
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL', 'ENOTDIR')) return undefined;
    throw error;
  }
}

export function nulSeparated(items: readonly string[]): string {
  return items.map((item) => `${item}\0`).join('');
}
