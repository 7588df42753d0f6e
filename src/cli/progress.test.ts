import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BerthEvent } from '../core/events.ts';
import { createProgress, type ProgressOptions } from './progress.ts';
import { createStyle } from '../core/style.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp(options: Partial<ProgressOptions> = {}) {
  let written = '';
  const progress = createProgress({
    write: (text) => (written += text),
    terminal: false,
    columns: () => 80,
    style: createStyle(false),
    verbose: false,
    quiet: false,
    ...options,
  });
  return {
    emit: (event: BerthEvent) => progress.onEvent({ ...event, at: Date.now(), subject: 'test' }),
    clear: () => progress.clear(),
    written: () => written,
  };
}

describe('without a terminal', () => {
  it('prints a plain line a phase', () => {
    const { emit, written } = setUp();
    emit({ type: 'phase.started', phase: 'build' });
    emit({ type: 'progress', phase: 'build', unit: 'paths', done: 3, total: 3 });
    emit({ type: 'progress', phase: 'build', unit: 'bytes', done: 2 * 2 ** 20 });
    emit({ type: 'phase.finished', phase: 'build', ms: 4200, cache: 'miss' });
    expect(written()).toBe('✓ Building 4.20 s, 3 paths, 2.0 MiB, miss\n');
  });

  it('is silent about phases that took no time, as all do on a hit', () => {
    const { emit, written } = setUp();
    emit({ type: 'phase.started', phase: 'read' });
    emit({ type: 'phase.finished', phase: 'read', ms: 1, cache: 'hit' });
    expect(written()).toBe('');
  });

  it('tells every ten seconds how far a long phase is, with rate and time left', () => {
    const { emit, written } = setUp();
    emit({ type: 'phase.started', phase: 'build' });
    emit({ type: 'progress', phase: 'build', unit: 'bytes', done: 0, total: 40 * 2 ** 20, label: 'python3' });
    vi.advanceTimersByTime(5000);
    emit({
      type: 'progress',
      phase: 'build',
      unit: 'bytes',
      done: 20 * 2 ** 20,
      total: 40 * 2 ** 20,
      label: 'python3',
    });
    expect(written()).toBe('');
    vi.advanceTimersByTime(5000);
    expect(written()).toBe('Building 20.0 MiB of 40.0 MiB, 2.0 MiB/s, 10.00 s left: python3\n');
  });
});

describe('on a terminal', () => {
  it('moves one line, never wider than the terminal, and takes it away', () => {
    const { emit, clear, written } = setUp({ terminal: true, columns: () => 30 });
    emit({ type: 'phase.started', phase: 'evaluate', detail: 'a detail that is longer than the terminal is wide' });
    vi.advanceTimersByTime(200);
    const lines = written().split('\r\u001b[K').slice(1);
    expect(lines.length).toBe(2);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(30);
    clear();
    expect(written().endsWith('\r\u001b[K')).toBe(true);
    vi.advanceTimersByTime(1000);
    expect(written().endsWith('\r\u001b[K')).toBe(true);
  });
});

it('prints warnings, and log lines with --verbose only', () => {
  const quiet = setUp({ quiet: true });
  const plain = setUp();
  const verbose = setUp({ verbose: true });
  for (const { emit } of [quiet, plain, verbose]) {
    emit({ type: 'warning', message: 'Look out.' });
    emit({ type: 'log', phase: 'build', line: 'gcc -c' });
  }
  expect([quiet.written(), plain.written(), verbose.written()]).toEqual([
    '',
    'warning: Look out.\n',
    'warning: Look out.\ngcc -c\n',
  ]);
});
