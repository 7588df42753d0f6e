/**
 * Observes paths: makes the observations of a read trace, and tells later whether one of them has changed. By content,
 * never by time or size, so that an edit which keeps both is seen. Synchronous on purpose: a handful of small files takes
 * less time than one round of the event loop.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  type Dirent,
} from 'node:fs';
import { isErrno } from '../core/files.ts';
import type { Observation, ReadTrace } from './read-trace.ts';

/** What a path is now, in the words of an observation. */
export type Seen =
  | { readonly kind: 'file'; readonly digest: string }
  | { readonly kind: 'listing'; readonly digest: string }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'exists'; readonly type: 'file' | 'directory' }
  | { readonly kind: 'absent' };

/**
 * @returns the digest of a file's content and of whether it can be executed (which the store keeps too), or undefined when
 *   it can't be read as a file
 */
export function fileDigest(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR', 'ELOOP', 'ENXIO')) return undefined;
    throw error;
  }
  try {
    const status = fstatSync(file);
    if (!status.isFile()) return undefined;
    const digest = createHash('sha256').update(readFileSync(file)).digest('hex');
    return `sha256:${digest}${(status.mode & 0o100) !== 0 ? '+x' : ''}`;
  } finally {
    closeSync(file);
  }
}

/** @returns the digest over a folder's sorted entries with their types, or undefined when it is no folder */
export function listingDigest(path: string): string | undefined {
  let entries: Dirent[];
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined;
    throw error;
  }
  const hash = createHash('sha256');
  const lines = entries.map((entry) => `${typeOf(entry)} ${entry.name}\0`);
  for (const line of lines.sort()) hash.update(line);
  return `sha256:${hash.digest('hex')}`;
}

function typeOf(entry: Dirent): string {
  if (entry.isFile()) return 'f';
  if (entry.isDirectory()) return 'd';
  if (entry.isSymbolicLink()) return 'l';
  return 'o';
}

/** @returns the link's target, or undefined when it is no link */
export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EINVAL', 'EACCES')) return undefined;
    throw error;
  }
}

/** @returns what a path itself is (a link is not followed): a link counts as a file */
export function existence(path: string): 'file' | 'directory' | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (!status) return undefined;
  return status.isDirectory() ? 'directory' : 'file';
}

/**
 * Whether an observation still holds.
 * @param variables the environment variables that an evaluation would be given now
 * @returns undefined when it holds, else what is there now
 */
export function changeOf(
  observation: Observation,
  variables: Readonly<Record<string, string>>,
): Observation | undefined {
  switch (observation.kind) {
    case 'file': {
      const digest = fileDigest(observation.path);
      if (digest === observation.digest) return undefined;
      return digest === undefined ? nowAt(observation.path) : { ...observation, digest };
    }
    case 'listing': {
      const digest = listingDigest(observation.path);
      if (digest === observation.digest) return undefined;
      return digest === undefined ? nowAt(observation.path) : { ...observation, digest };
    }
    case 'link': {
      const target = linkTarget(observation.path);
      if (target === observation.target) return undefined;
      return target === undefined ? nowAt(observation.path) : { ...observation, target };
    }
    case 'absent':
      return existence(observation.path) === undefined ? undefined : nowAt(observation.path);
    case 'exists':
      return existence(observation.path) === observation.type ? undefined : nowAt(observation.path);
    case 'variable': {
      const value = variables[observation.name] ?? null;
      return value === observation.value ? undefined : { ...observation, value };
    }
  }
}

function nowAt(path: string): Observation {
  const type = existence(path);
  return type === undefined ? { kind: 'absent', path } : { kind: 'exists', path, type };
}

/** The first observation of a trace that no longer holds. */
export type TraceCheck =
  { readonly same: true } | { readonly same: false; readonly changed: Observation; readonly now: Observation };

/**
 * Tells whether an evaluation would read the same again.
 * @param trace of the last evaluation
 * @param variables the environment variables that an evaluation would be given now
 */
export function checkTrace(trace: ReadTrace, variables: Readonly<Record<string, string>> = {}): TraceCheck {
  for (const changed of trace) {
    const now = changeOf(changed, variables);
    if (now) return { same: false, changed, now };
  }
  return { same: true };
}
