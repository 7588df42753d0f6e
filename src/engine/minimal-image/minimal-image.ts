/** The minimal image: built from busybox-static and the agent, named by its digest, unpacked once for all berths. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, digestOfJson, type Digest } from '../../core/digest.ts';
import { BerthError } from '../../core/errors.ts';
import { isErrno } from '../../core/files.ts';
import { appletsOf } from './applets.ts';
import { readElf } from './elf.ts';
import { sharedEntries, skeletonEntries, type ImageEntry } from './entries.ts';

export interface MinimalImageOptions {
  /** The host's static busybox. Its file must be named `busybox`, by which it finds its applets. */
  readonly busybox: string;
  /** The folder with Berth's native programs for this machine. */
  readonly nativeDirectory: string;
}

export interface MinimalImageOf extends MinimalImageOptions {
  /** Node's name of the machine that the programs are for: `x64`, `arm64`. */
  readonly machine: string;
}

export interface MinimalImage {
  /** Over all entries; the same on every host for the same two programs. */
  readonly digest: Digest;
  readonly shared: readonly ImageEntry[];
  readonly skeleton: readonly ImageEntry[];
}

/** @throws BerthError TOOL_MISSING when busybox or the agent is not there, or is not a static program */
export async function describeMinimalImage(options: MinimalImageOptions): Promise<MinimalImage> {
  return describeMinimalImageOf({ ...options, machine: process.arch });
}

/** The same for another machine: nothing of it is run. */
export async function describeMinimalImageOf(options: MinimalImageOf): Promise<MinimalImage> {
  const busybox = await readProgram(options.busybox, 'busybox-static', options.machine);
  const agent = await readProgram(join(options.nativeDirectory, 'agent'), 'berth', options.machine);
  const seccompFilter = await readFile(join(options.nativeDirectory, 'seccomp.bpf'));
  const applets = appletsOf(busybox);
  const shared = sharedEntries({ busybox, agent, seccompFilter, applets });
  const skeleton = skeletonEntries();
  const digest = digestOfJson(
    [...shared, ...skeleton].map((entry) =>
      entry.type === 'file' ? { ...entry, content: digestOf(entry.content) } : entry,
    ),
  );
  return { digest, shared, skeleton };
}

async function readProgram(path: string, packageName: string, machine: string): Promise<Buffer> {
  const missing = (why: string, cause?: unknown) =>
    new BerthError('TOOL_MISSING', `${path} ${why}; the package ${packageName} has it.`, { cause });
  const bytes = await readFile(path).catch((error: unknown) => {
    throw missing('cannot be read', error);
  });
  const elf = readElf(bytes);
  if (!elf?.isStatic || elf.machine !== machine) throw missing(`is not a static program for ${machine}`);
  return bytes;
}

/**
 * Unpacks the shared part, where it is not there yet.
 * @param directory holds a folder for each digest
 * @returns the folder that is to be mounted at /berth
 */
export async function unpackShared(image: MinimalImage, directory: string): Promise<string> {
  const place = join(directory, image.digest.slice('sha256:'.length));
  const isThere = await access(place).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    await mkdir(directory, { recursive: true });
    const temporary = await mkdtemp(join(directory, 'new-'));
    // mkdtemp's is its owner's only, and this one is seen by all users of a berth.
    await chmod(temporary, 0o755);
    makeEntries(image.shared, temporary);
    await rename(temporary, place).catch(async (error: unknown) => {
      // Another was first: its copy is the same.
      await rm(temporary, { recursive: true, force: true });
      if (!isErrno(error, 'EEXIST', 'ENOTEMPTY')) throw error;
    });
  }
  return join(place, 'berth');
}

/**
 * Makes entries below a folder that nobody else writes yet. Synchronous on purpose: some forty small calls take about a
 * millisecond, and through the thread pool several times that.
 */
export function makeEntries(entries: readonly ImageEntry[], root: string): void {
  const old = process.umask(0);
  try {
    for (const entry of entries) {
      const path = `${root}${entry.path}`;
      if (entry.type === 'directory') mkdirSync(path, { mode: entry.mode });
      else if (entry.type === 'link') symlinkSync(entry.target, path);
      else writeFileSync(path, entry.content, { mode: entry.mode, flag: 'wx' });
    }
  } finally {
    process.umask(old);
  }
}
