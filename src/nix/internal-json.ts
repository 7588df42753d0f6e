/**
 * Reads Nix's `--log-format internal-json`: lines of `@nix {…}` that start and stop activities and tell their results.
 * The numbers are those of nix/src/libutil/logging.hh, which have stayed the same since Nix 2.4.
 */
import { z } from 'zod';
import type { BerthEvent, Emit } from '../core/events.ts';

const activityType = { copyPath: 100, fileTransfer: 101, copyPaths: 103, builds: 104, build: 105 } as const;
const resultType = { buildLogLine: 101, progress: 105, setExpected: 106 } as const;

const field = z.union([z.string(), z.number()]);
const messageSchema = z.discriminatedUnion('action', [
  z.object({
    action: z.literal('start'),
    id: z.number(),
    type: z.number(),
    text: z.string().default(''),
    parent: z.number().default(0),
    fields: z.array(field).default([]),
  }),
  z.object({ action: z.literal('stop'), id: z.number() }),
  z.object({ action: z.literal('result'), id: z.number(), type: z.number(), fields: z.array(field).default([]) }),
  z.object({ action: z.literal('msg'), level: z.number(), msg: z.string() }),
]);

/** A line of a build's log. */
export interface BuildLogLine {
  readonly derivation: string;
  readonly line: string;
}

export interface NixLogOptions {
  readonly emit: Emit;
  readonly onLog?: (line: BuildLogLine) => void;
  readonly now?: () => number;
  /** Milliseconds between two events of progress. Default 100. */
  readonly progressIntervalMs?: number;
}

/** Collects what one run of Nix logs. */
export interface NixLog {
  /** Takes one line of stderr. */
  add: (line: string) => void;
  /** Emits the progress that is still held back. */
  flush(): void;
  /** Nix's own messages of level error and warning, without colours, in order. */
  readonly errors: readonly string[];
  /** The last lines of each build's log, by derivation. */
  readonly buildLogs: ReadonlyMap<string, readonly string[]>;
  /** Derivations whose build was started. */
  readonly built: ReadonlySet<string>;
}

interface Activity {
  readonly type: number;
  readonly parent: number;
  readonly derivation: string;
  readonly started: number;
  readonly label: string;
  done: number;
  expected: number;
}

const keptLines = 100;

export function createNixLog(options: NixLogOptions): NixLog {
  const { emit, onLog, now = Date.now, progressIntervalMs = 100 } = options;
  const activities = new Map<number, Activity>();
  const errors: string[] = [];
  const buildLogs = new Map<string, string[]>();
  const built = new Set<string>();
  // Work of activities that have ended; the rest is in `activities`.
  const ended = { paths: 0, bytes: 0, builds: 0 };
  const expectedBytes = new Map<number, number>();
  let lastProgress = 0;
  let label = '';
  const reported = new Map<string, string>();

  // What fixed-output derivations download counts; a substituter's own transfers are counted as copied paths. Nix 2.8 does
  // not tell which build a transfer belongs to, so its address must.
  const countsBytes = (activity: Activity): boolean =>
    activity.type === activityType.copyPath ||
    (activity.type === activityType.fileTransfer &&
      (activity.parent === 0
        ? !/(?:\.narinfo|\/nix-cache-info|\/nar\/[^/]+)$/.test(activity.derivation)
        : activities.get(activity.parent)?.type === activityType.build));

  const progress = (force: boolean) => {
    const time = now();
    if (!force && time - lastProgress < progressIntervalMs) return;
    lastProgress = time;
    let bytes = ended.bytes;
    let bytesTotal = ended.bytes;
    let paths = ended.paths;
    let pathsTotal = ended.paths;
    for (const activity of activities.values()) {
      if (countsBytes(activity)) {
        bytes += activity.done;
        bytesTotal += Math.max(activity.done, activity.expected);
      } else if (activity.type === activityType.copyPaths || activity.type === activityType.builds) {
        paths += activity.done;
        pathsTotal += activity.expected;
      }
    }
    for (const expected of expectedBytes.values()) bytesTotal = Math.max(bytesTotal, expected);
    const report = (unit: 'paths' | 'bytes', done: number, total: number) => {
      if (total === 0) return;
      const event: BerthEvent = { type: 'progress', phase: 'build', unit, done, total, ...(label ? { label } : {}) };
      const text = `${String(done)}/${String(total)}`;
      if (reported.get(unit) === text) return;
      reported.set(unit, text);
      emit(event);
    };
    report('paths', paths, pathsTotal);
    report('bytes', bytes, bytesTotal);
  };

  const start = (message: Extract<z.infer<typeof messageSchema>, { action: 'start' }>) => {
    const first = message.fields[0];
    const activity: Activity = {
      type: message.type,
      parent: message.parent,
      derivation: typeof first === 'string' ? first : '',
      label: message.text,
      started: now(),
      done: 0,
      expected: 0,
    };
    activities.set(message.id, activity);
    if (message.type === activityType.build) {
      built.add(activity.derivation);
      label = nameOfDerivation(activity.derivation);
      emit({ type: 'derivation.started', derivation: activity.derivation });
    } else if (message.type === activityType.copyPath) {
      label = nameOfDerivation(activity.derivation);
    }
  };

  const stop = (id: number) => {
    const activity = activities.get(id);
    if (!activity) return;
    if (countsBytes(activity)) ended.bytes += activity.done;
    if (activity.type === activityType.copyPaths || activity.type === activityType.builds) ended.paths += activity.done;
    activities.delete(id);
    if (activity.type === activityType.build) {
      emit({ type: 'derivation.finished', derivation: activity.derivation, ms: now() - activity.started });
    }
    progress(false);
  };

  const result = (id: number, type: number, fields: readonly (string | number)[]) => {
    const activity = activities.get(id);
    if (!activity) return;
    const [first, second] = fields;
    if (type === resultType.buildLogLine && typeof first === 'string') {
      const line = withoutColours(first);
      const lines = buildLogs.get(activity.derivation) ?? [];
      lines.push(line);
      if (lines.length > keptLines) lines.shift();
      buildLogs.set(activity.derivation, lines);
      onLog?.({ derivation: activity.derivation, line });
      emit({ type: 'log', phase: 'build', line });
    } else if (type === resultType.progress && typeof first === 'number' && typeof second === 'number') {
      activity.done = first;
      activity.expected = second;
      progress(false);
    } else if (type === resultType.setExpected && typeof first === 'number' && typeof second === 'number') {
      if (first === activityType.copyPath) expectedBytes.set(id, second);
    }
  };

  return {
    add(line) {
      if (!line.startsWith('@nix ')) {
        // Nix prints this way before it has read its options, and its programs do so always.
        if (line.trim() !== '') errors.push(withoutColours(line));
        return;
      }
      const message = parseMessage(line.slice(5));
      if (!message) return;
      if (message.action === 'start') start(message);
      else if (message.action === 'stop') stop(message.id);
      else if (message.action === 'result') result(message.id, message.type, message.fields);
      else if (message.level <= 1) errors.push(withoutColours(message.msg));
    },
    flush: () => progress(true),
    errors,
    buildLogs,
    built,
  };
}

function parseMessage(text: string): z.infer<typeof messageSchema> | undefined {
  try {
    const parsed = messageSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** @returns the text without ANSI escapes */
export function withoutColours(text: string): string {
  // eslint-disable-next-line no-control-regex -- the escape character is what is looked for
  return text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, '');
}

/** @returns `hello-2.12` for `/nix/store/…-hello-2.12.drv` */
export function nameOfDerivation(path: string): string {
  return path.replace(/^.*\/[0-9a-z]{32}-/, '').replace(/\.drv$/, '');
}
