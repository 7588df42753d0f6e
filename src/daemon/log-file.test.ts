import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BerthError } from '../core/errors.ts';
import { EventBus } from '../core/events.ts';
import { openLogFile, type LogLevel } from './log-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync('/tmp/berth-log-');
});
afterEach(() => rmSync(folder, { recursive: true }));

function setUp(level: LogLevel, maxBytes = 1e6) {
  const bus = new EventBus(() => Date.UTC(2026, 10, 24));
  const path = join(folder, 'log/daemon.log');
  const log = openLogFile(bus, { path, level, maxBytes });
  const lines = (file = path) =>
    readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { emit: bus.emitter('test'), log, path, lines };
}

describe('openLogFile', () => {
  it('writes each event as a line, readable by its owner only', () => {
    const { emit, path, lines } = setUp('info');
    emit({ type: 'warning', message: 'Look out.' });
    expect(lines()).toEqual([
      { level: 'warning', at: '2026-11-24T00:00:00.000Z', type: 'warning', message: 'Look out.', subject: 'test' },
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('leaves out what the level does not ask for', () => {
    const { emit, lines } = setUp('warning');
    emit({ type: 'log', phase: 'build', line: 'gcc' });
    emit({ type: 'failed', error: new BerthError('BERTH_UNKNOWN', "The user's own fault.").report() });
    emit({ type: 'failed', error: new BerthError('INTERNAL', "Berth's fault.").report() });
    expect(lines().map((line) => line['level'])).toEqual(['error']);
  });

  it('is put aside when it is full, and keeps one old one', () => {
    const { emit, path, lines } = setUp('info', 400);
    for (let number = 0; number < 12; number += 1) emit({ type: 'warning', message: `warning number ${number}` });
    const kept = [...lines(`${path}.1`), ...lines()].map((line) => line['message']);
    expect(kept.at(-1)).toBe('warning number 11');
    expect(kept.length).toBeLessThan(12);
    expect(statSync(path).size).toBeLessThanOrEqual(400);
    expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(400);
  });

  it('holds the stacks and causes of an unexpected error', () => {
    const { log, lines } = setUp('info');
    log.error(new BerthError('INTERNAL', 'Unexpected.', { cause: new TypeError('deep') }));
    log.error(new BerthError('CANCELLED', 'Of no interest.'));
    expect(lines()).toHaveLength(1);
    expect(JSON.stringify(lines()[0])).toContain('TypeError: deep');
  });
});
