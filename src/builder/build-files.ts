/** The files of a build: its events, a line of JSON each, and its log. Whoever reads them is told all from the start. */
import {
  closeSync,
  createReadStream,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BerthEvent } from '../core/events.ts';
import { isErrno } from '../core/files.ts';
import type { BuildEvent } from './builder.ts';

export interface BuildFiles {
  readonly events: string;
  readonly log: string;
}

export function buildFiles(directory: string, id: string): BuildFiles {
  return { events: join(directory, `${id}.events`), log: join(directory, `${id}.log`) };
}

export function removeBuildFiles(files: BuildFiles): void {
  rmSync(files.events, { force: true });
  rmSync(files.log, { force: true });
}

export interface EventWriter {
  append(event: BerthEvent, at: number): void;
  close(): void;
}

/** Past this size, log lines and progress are left out of a build's events; its log has the lines all the same. */
const fullBytes = 32 * 1024 * 1024;

/** Opens the events of a build; those of an earlier try are kept. */
export function openEvents(file: string): EventWriter {
  mkdirSync(dirname(file), { recursive: true });
  const { events, end } = readEvents(file, 0);
  let seq = events.at(-1)?.seq ?? 0;
  // Appending to a line that a crash has cut off would spoil the next one too.
  const handle = openSync(file, 'a', 0o600);
  if (fstatSync(handle).size > end) writeSync(handle, '\n');
  let bytes = end;
  return {
    append(event, at) {
      if (bytes > fullBytes && (event.type === 'log' || event.type === 'progress')) return;
      seq += 1;
      // Synchronous: who reads the file knows all that has happened.
      bytes += writeSync(handle, `${JSON.stringify({ seq, at, event } satisfies BuildEvent)}\n`);
    },
    close: () => closeSync(handle),
  };
}

/**
 * @param from bytes to skip
 * @returns the whole lines from there on, and where they end
 */
export function readEvents(file: string, from: number): { events: BuildEvent[]; end: number } {
  let handle: number;
  try {
    handle = openSync(file, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { events: [], end: from };
    throw error;
  }
  try {
    const buffer = Buffer.alloc(Math.max(0, fstatSync(handle).size - from));
    const length = readSync(handle, buffer, 0, buffer.length, from);
    const end = buffer.subarray(0, length).lastIndexOf(10) + 1;
    const lines = buffer.subarray(0, end).toString('utf8').split('\n');
    return { events: lines.flatMap(parseEvent), end: from + end };
  } finally {
    closeSync(handle);
  }
}

function parseEvent(line: string): BuildEvent[] {
  if (line === '') return [];
  try {
    return [JSON.parse(line) as BuildEvent];
  } catch {
    // Cut off by a crash.
    return [];
  }
}

export interface FollowOptions {
  /** Whether the build goes on. */
  readonly isActive: () => boolean;
  readonly signal?: AbortSignal;
}

/** How often a file that another process may write is looked at. */
const lookMs = 100;

/** The events from after `after`, and those that come until the build has ended. */
export async function* followEvents(file: string, after: number, options: FollowOptions): AsyncGenerator<BuildEvent> {
  let at = 0;
  for (;;) {
    // Asked before reading, so that what was written last is not missed.
    const active = options.isActive();
    const { events, end } = readEvents(file, at);
    at = end;
    for (const event of events) {
      if (event.seq > after) yield event;
      if (event.event.type === 'build.finished') return;
    }
    if (!active || !(await pause(options.signal))) return;
  }
}

/** The bytes of a log, and with isActive those that come until the build has ended. */
export async function* followLog(file: string, options: FollowOptions): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (;;) {
    const active = options.isActive();
    const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (size > at) {
      for await (const chunk of createReadStream(file, { start: at, end: size - 1 })) yield chunk as Uint8Array;
      at = size;
    }
    if (!active || !(await pause(options.signal))) return;
  }
}

/** @returns false when the signal aborts */
async function pause(signal: AbortSignal | undefined): Promise<boolean> {
  if (signal?.aborted) return false;
  try {
    await delay(lookMs, undefined, signal ? { signal } : {});
    return true;
  } catch {
    return false;
  }
}
