/** Makes the read trace of one evaluation from what strace saw, and tells whether it can be relied on. */
import { lstatSync, statSync } from 'node:fs';
import { existence, fileDigest, linkTarget, listingDigest } from './observe.ts';
import type { Observation, ReadTrace } from './read-trace.ts';
import type { PathsSeen } from './strace-reader.ts';

export interface TraceOptions {
  readonly seen: PathsSeen;
  /** Variables that the evaluation asked for, with what it was given. */
  readonly variables: ReadonlyMap<string, string | null>;
  /** The time at which the evaluation started, as the file system tells it (nanoseconds of a file's ctime). */
  readonly startedNs: bigint;
}

export interface TraceOf {
  readonly trace: ReadTrace;
  /**
   * Something that was read has changed since the evaluation started, so what it saw is not known for sure: the trace must
   * not be kept.
   */
  readonly unstable: boolean;
}

/**
 * Observes all that was seen. Digests are taken after the evaluation; that they are what the evaluation read follows
 * from the inode change time (which no program can set back) lying before its start.
 */
export function traceOf(options: TraceOptions): TraceOf {
  const { seen, startedNs } = options;
  const trace: Observation[] = [];
  let unstable = false;
  const changedSince = (path: string, follow: boolean) => {
    const status = (follow ? statSync : lstatSync)(path, { bigint: true, throwIfNoEntry: false });
    // That clock ticks every few milliseconds. A change within the tick of the start came before anything was read: it
    // takes Nix longer than that to start.
    if (!status || status.ctimeNs > startedNs) unstable = true;
  };

  const paths = new Set([...seen.opened, ...seen.listed, ...seen.links, ...seen.exists, ...seen.absent]);
  for (const path of [...paths].sort()) {
    let described = false;
    if (seen.links.has(path)) {
      const target = linkTarget(path);
      if (target === undefined) unstable = true;
      else {
        trace.push({ kind: 'link', path, target });
        described = true;
        changedSince(path, false);
      }
    }
    if (seen.opened.has(path)) {
      const digest = fileDigest(path);
      if (digest !== undefined) {
        trace.push({ kind: 'file', path, digest });
        described = true;
        changedSince(path, true);
      } else if (!seen.listed.has(path) && existence(path) !== 'directory') unstable = true;
    }
    if (seen.listed.has(path)) {
      const digest = listingDigest(path);
      if (digest === undefined) unstable = true;
      else {
        trace.push({ kind: 'listing', path, digest });
        described = true;
        changedSince(path, true);
      }
    }
    if (described) continue;
    const type = existence(path);
    if (seen.absent.has(path) && seen.exists.has(path)) unstable = true;
    if (seen.absent.has(path)) {
      if (type === undefined) trace.push({ kind: 'absent', path });
      else unstable = true;
    } else if (type === undefined) unstable = true;
    // A link whose target was not read: what it leads to is seen by its own path.
    else trace.push({ kind: 'exists', path, type });
  }
  for (const [name, value] of [...options.variables].sort(([a], [b]) => (a < b ? -1 : 1))) {
    trace.push({ kind: 'variable', name, value });
  }
  return { trace, unstable };
}

/** @returns the observations of both, each once */
export function mergeTraces(first: ReadTrace, second: ReadTrace): ReadTrace {
  const byKey = new Map<string, Observation>();
  for (const observation of [...first, ...second]) {
    byKey.set(`${observation.kind} ${'path' in observation ? observation.path : observation.name}`, observation);
  }
  return [...byKey.values()];
}

/** Observes files that Berth itself read for the evaluation, such as flake.lock. */
export function observeFiles(paths: readonly string[]): ReadTrace {
  return paths.map((path): Observation => {
    const digest = fileDigest(path);
    return digest === undefined ? { kind: 'absent', path } : { kind: 'file', path, digest };
  });
}
