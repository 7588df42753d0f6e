/** The daemon's log: each event as one line of JSON; put aside by size. */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BerthError } from '../core/errors.ts';
import type { EventBus, PublishedEvent } from '../core/events.ts';

export type LogLevel = 'error' | 'warning' | 'info' | 'debug';

export interface LogOptions {
  readonly path: string;
  readonly level: LogLevel;
  /** Size at which the file is renamed to `<path>.1` and a new one begun. */
  readonly maxBytes: number;
}

export interface LogFile {
  /** Writes an error with its causes and stacks, which never leave the machine otherwise. */
  error(error: BerthError): void;
  close(): void;
}

const order: readonly LogLevel[] = ['error', 'warning', 'info', 'debug'];

/** Opens the log and writes the bus's events to it from now on. */
export function openLogFile(bus: EventBus, options: LogOptions): LogFile {
  mkdirSync(dirname(options.path), { recursive: true });
  let file = openSync(options.path, 'a', 0o600);
  let size = fstatSync(file).size;

  const write = (level: LogLevel, fields: Readonly<Record<string, unknown>>): void => {
    if (order.indexOf(level) > order.indexOf(options.level)) return;
    const line = Buffer.from(`${JSON.stringify({ level, ...fields })}\n`);
    if (size > 0 && size + line.length > options.maxBytes) {
      closeSync(file);
      renameSync(options.path, `${options.path}.1`);
      file = openSync(options.path, 'a', 0o600);
      size = 0;
    }
    // Synchronous: a line that is written is there even when the process dies next.
    size += writeSync(file, line);
  };

  const unsubscribe = bus.subscribe((event) => {
    const { at, ...fields } = event;
    write(levelOf(event), { at: new Date(at).toISOString(), ...fields });
  });
  return {
    error(error) {
      if (error.code === 'CANCELLED') return;
      const level = error.code === 'INTERNAL' ? 'error' : 'debug';
      write(level, { at: new Date().toISOString(), type: 'stack', code: error.code, stacks: stacksOf(error) });
    },
    close() {
      unsubscribe();
      closeSync(file);
    },
  };
}

function levelOf(event: PublishedEvent): LogLevel {
  switch (event.type) {
    case 'failed':
      return event.error.fault === 'user' ? 'info' : 'error';
    case 'warning':
      return 'warning';
    case 'phase.finished':
    case 'mode.chosen':
    case 'berth.state':
    case 'image.evicted':
    case 'berth.switched':
    case 'pool.unavailable':
    case 'daemon.started':
    case 'daemon.stopping':
    case 'request.finished':
      return 'info';
    case 'pool.claimed':
    case 'pool.missed':
    case 'pool.sized':
    case 'build.finished':
      return event.joined ? 'debug' : 'info';
    case 'build.retried':
      return 'warning';
    case 'phase.started':
    case 'progress':
    case 'derivation.started':
    case 'derivation.finished':
    case 'log':
    case 'build.queued':
    case 'build.started':
      return 'debug';
  }
}

function stacksOf(error: unknown): string[] {
  const stacks: string[] = [];
  for (let current = error; current instanceof Error && stacks.length < 8; current = current.cause) {
    stacks.push(current.stack ?? current.message);
  }
  return stacks;
}
