/** Shows events as they come: one line that moves on a terminal, else a plain line a phase. Reads nothing but events. */
import type { Phase, PublishedEvent } from '../core/events.ts';
import { formatBytes, formatDuration } from '../core/format.ts';
import type { Style } from '../core/style.ts';

export interface ProgressOptions {
  readonly write: (text: string) => void;
  readonly terminal: boolean;
  /** Columns of the terminal. */
  readonly columns: () => number;
  readonly style: Style;
  /** Also log lines, derivations and phases that took no time. */
  readonly verbose: boolean;
  readonly quiet: boolean;
  readonly now?: () => number;
}

export interface Progress {
  readonly onEvent: (event: PublishedEvent) => void;
  /** Takes the moving line away, before anything else is written. */
  clear(): void;
}

const words: Readonly<Record<Phase, string>> = {
  read: 'Reading the config',
  lock: 'Locking sources',
  evaluate: 'Evaluating',
  build: 'Building',
  libraries: 'Installing libraries',
  materialise: 'Preparing the environment',
  ship: 'Shipping the image',
  start: 'Starting',
  copy: 'Copying',
  collect: 'Collecting garbage',
  push: 'Pushing',
  pull: 'Pulling',
};
const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const redrawMs = 80;
/** A phase that is quicker than this and hit is not worth a line. */
const worthMs = 100;
/** Without a terminal, a long phase tells how far it is this often. */
const plainEveryMs = 10_000;

interface Counter {
  readonly startedAt: number;
  done: number;
  total: number | undefined;
  label: string | undefined;
}

export function createProgress(options: ProgressOptions): Progress {
  const now = options.now ?? Date.now;
  if (options.quiet) return { onEvent: () => undefined, clear: () => undefined };
  const { style } = options;
  let phase: { readonly name: Phase; readonly startedAt: number; detail: string | undefined } | undefined;
  let counters = new Map<'paths' | 'bytes' | 'packages', Counter>();
  let drawn = false;
  let timer: NodeJS.Timeout | undefined;

  const stopTimer = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  const clear = (): void => {
    if (drawn) options.write('\r\u001b[K');
    drawn = false;
  };
  const line = (text: string): void => {
    clear();
    options.write(`${text}\n`);
  };
  const draw = (): void => {
    if (!phase) return;
    const text = describe(phase.name, phase.detail, counters, now());
    if (options.terminal) {
      const frame = frames[Math.floor(now() / redrawMs) % frames.length] ?? '';
      options.write(`\r\u001b[K${style.blue(frame)} ${text.slice(0, Math.max(10, options.columns() - 3))}`);
      drawn = true;
    } else {
      options.write(`${text}\n`);
    }
  };
  const begin = (name: Phase, detail: string | undefined): void => {
    phase = { name, detail, startedAt: now() };
    counters = new Map();
    stopTimer();
    timer = setInterval(draw, options.terminal ? redrawMs : plainEveryMs);
    timer.unref();
  };
  const finish = (name: Phase, ms: number, cache: 'hit' | 'miss' | undefined): void => {
    stopTimer();
    clear();
    const summary = [...counters].map(([unit, counter]) => amount(unit, counter.done));
    phase = undefined;
    if (!options.verbose && ms < worthMs) return;
    const notes = [...summary, ...(cache ? [cache] : [])];
    line(
      `${style.green('✓')} ${words[name]} ${style.dim(`${formatDuration(ms)}${notes.length > 0 ? `, ${notes.join(', ')}` : ''}`)}`,
    );
  };

  const onEvent = (event: PublishedEvent): void => {
    switch (event.type) {
      case 'phase.started':
        begin(event.phase, event.detail);
        break;
      case 'phase.finished':
        finish(event.phase, event.ms, event.cache);
        break;
      case 'progress': {
        if (phase?.name !== event.phase) begin(event.phase, undefined);
        const counter = counters.get(event.unit) ?? { startedAt: now(), done: 0, total: undefined, label: undefined };
        counter.done = event.done;
        counter.total = event.total;
        counter.label = event.label;
        counters.set(event.unit, counter);
        break;
      }
      case 'log':
        if (options.verbose) line(style.dim(event.line));
        break;
      case 'derivation.started':
      case 'derivation.finished':
        if (options.verbose) line(style.dim(`${event.type.replace('.', ' ')} ${event.derivation}`));
        break;
      case 'warning':
        line(`${style.yellow('warning')}: ${event.message}`);
        break;
      case 'build.queued':
        if (phase) phase.detail = `waiting, ${event.position} in the queue`;
        break;
      case 'build.started':
        if (phase) phase.detail = undefined;
        if (options.verbose) line(style.dim(`build ${event.build}`));
        break;
      case 'build.retried':
        line(`${style.yellow('warning')}: ${event.error.message} It is tried again.`);
        break;
      case 'build.finished':
        break;
      case 'failed':
        // The caller renders the error itself.
        stopTimer();
        clear();
        break;
      case 'mode.chosen':
        if (options.verbose) line(style.dim(`mode ${event.mode}: ${event.reason}`));
        break;
      case 'berth.state':
      case 'berth.switched':
      case 'pool.claimed':
      case 'pool.missed':
      case 'pool.unavailable':
      case 'pool.sized':
      case 'daemon.started':
      case 'image.evicted':
      case 'daemon.stopping':
      case 'request.finished':
        break;
    }
  };
  return {
    onEvent,
    clear() {
      stopTimer();
      clear();
    },
  };
}

/** `Building 12/40 paths, 31.0 MiB of 120.0 MiB, 4.2 MiB/s, 21 s left: python3` */
function describe(
  name: Phase,
  detail: string | undefined,
  counters: ReadonlyMap<'paths' | 'bytes' | 'packages', Counter>,
  at: number,
): string {
  const parts: string[] = [];
  let label = detail;
  for (const [unit, counter] of counters) {
    label = counter.label ?? label;
    if (unit !== 'bytes') {
      parts.push(`${counter.done}${counter.total === undefined ? '' : `/${counter.total}`} ${unit}`);
      continue;
    }
    parts.push(`${formatBytes(counter.done)}${counter.total === undefined ? '' : ` of ${formatBytes(counter.total)}`}`);
    const seconds = (at - counter.startedAt) / 1000;
    if (seconds < 0.5 || counter.done === 0) continue;
    const rate = counter.done / seconds;
    parts.push(`${formatBytes(Math.round(rate))}/s`);
    if (counter.total !== undefined && counter.total > counter.done) {
      parts.push(`${formatDuration(Math.max(1000, ((counter.total - counter.done) / rate) * 1000))} left`);
    }
  }
  const progress = parts.length > 0 ? ` ${parts.join(', ')}` : '';
  return `${words[name]}${progress}${label === undefined ? '' : `: ${label}`}`;
}

function amount(unit: 'paths' | 'bytes' | 'packages', done: number): string {
  return unit === 'bytes' ? formatBytes(done) : `${done} ${unit}`;
}
