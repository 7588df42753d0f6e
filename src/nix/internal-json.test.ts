import { describe, expect, it } from 'vitest';
import type { BerthEvent } from '../core/events.ts';
import { createNixLog, nameOfDerivation } from './internal-json.ts';

function run(...messages: (object | string)[]) {
  const events: BerthEvent[] = [];
  let time = 0;
  const log = createNixLog({ emit: (event) => events.push(event), now: () => (time += 1000) });
  for (const message of messages) log.add(typeof message === 'string' ? message : `@nix ${JSON.stringify(message)}`);
  log.flush();
  return { events, log };
}

const drv = '/nix/store/00000000000000000000000000000000-hello-2.12.drv';

describe("Nix's log", () => {
  it('tells builds with their logs', () => {
    const { events, log } = run(
      { action: 'start', id: 1, type: 105, level: 3, text: 'building', parent: 0, fields: [drv, '', 1, 1] },
      { action: 'result', id: 1, type: 101, fields: ['\u001b[31mred\u001b[0m line'] },
      { action: 'stop', id: 1 },
    );
    expect(events.map((event) => event.type)).toEqual(['derivation.started', 'log', 'derivation.finished']);
    expect(events[1]).toMatchObject({ line: 'red line', phase: 'build' });
    expect(log.built).toEqual(new Set([drv]));
    expect(log.buildLogs.get(drv)).toEqual(['red line']);
  });

  it('counts what is copied from a cache, and not the transfers under it', () => {
    const { events } = run(
      { action: 'start', id: 1, type: 103, parent: 0 },
      { action: 'result', id: 1, type: 105, fields: [0, 2, 1, 0] },
      { action: 'start', id: 2, type: 100, parent: 1, fields: [drv, 'http://cache', 'local'] },
      { action: 'start', id: 3, type: 101, parent: 2, fields: ['http://cache/nar/x.nar.xz'] },
      { action: 'result', id: 3, type: 105, fields: [500, 500, 0, 0] },
      { action: 'result', id: 2, type: 105, fields: [700, 1000, 0, 0] },
      { action: 'stop', id: 3 },
      { action: 'result', id: 2, type: 105, fields: [1000, 1000, 0, 0] },
      { action: 'stop', id: 2 },
      { action: 'result', id: 1, type: 105, fields: [1, 2, 0, 0] },
    );
    const progress = events.filter((event) => event.type === 'progress');
    expect(progress.findLast((event) => event.unit === 'bytes')).toMatchObject({ done: 1000, total: 1000 });
    expect(progress.findLast((event) => event.unit === 'paths')).toMatchObject({ done: 1, total: 2 });
  });

  it('counts the download of a build, with and without its parent being told', () => {
    for (const parent of [1, undefined]) {
      const { events } = run(
        { action: 'start', id: 1, type: 105, fields: [drv, '', 1, 1] },
        { action: 'start', id: 2, type: 101, parent, fields: ['http://mirror/pool/x.deb'] },
        { action: 'result', id: 2, type: 105, fields: [30, 90, 0, 0] },
      );
      expect(events).toContainEqual(expect.objectContaining({ type: 'progress', unit: 'bytes', done: 30, total: 90 }));
    }
  });

  it('keeps errors, and passes over what it does not know', () => {
    const { log } = run(
      { action: 'msg', level: 0, msg: '\u001b[31;1merror:\u001b[0m no' },
      { action: 'msg', level: 3, msg: 'these derivations will be built' },
      { action: 'other' },
      '@nix {broken',
      'warning: a plain line',
      '',
    );
    expect(log.errors).toEqual(['error: no', 'warning: a plain line']);
  });

  it('is not flooded by progress', () => {
    const events: BerthEvent[] = [];
    const log = createNixLog({ emit: (event) => events.push(event), now: () => 0 });
    log.add('@nix {"action":"start","id":1,"type":100,"fields":["/nix/store/x"]}');
    for (let done = 0; done < 1000; done += 1) {
      log.add(`@nix {"action":"result","id":1,"type":105,"fields":[${done},1000,0,0]}`);
    }
    log.flush();
    expect(events).toHaveLength(1);
  });
});

it('names a derivation for people', () => {
  expect(nameOfDerivation(drv)).toBe('hello-2.12');
});
