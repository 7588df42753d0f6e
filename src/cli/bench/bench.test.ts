import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { benchConfigs, configText, reordered } from './configs.ts';
import { median, modesMarkdown } from './markdown.ts';
import { startMirrorCache } from './mirror-cache.ts';
import { isFree, type Measurement, type ModesResult } from './result.ts';

describe('configs', () => {
  test('are ten, and each can be reordered and added to', () => {
    expect(benchConfigs).toHaveLength(10);
    for (const { packages, added } of benchConfigs) {
      expect(packages).not.toContain(added);
      const other = reordered(packages, 1);
      expect(other).not.toEqual(packages);
      expect([...other].sort()).toEqual([...packages].sort());
    }
  });

  test('no turn gives the order back that it began with', () => {
    for (const turn of [1, 2, 3, 4, 5]) expect(reordered(['a', 'b', 'c'], turn)).not.toEqual(['a', 'b', 'c']);
  });

  test('quote names that are no identifiers of Nix', () => {
    expect(configText(['jq', 'lua5.4'])).toContain('[ jq pkgs."lua5.4" ]');
  });
});

const measurement: Measurement = {
  ...{ config: 'a', mode: 'image', situation: 'reordered', atOnce: 1, readyMs: [20, 10], eachMs: [20, 10] },
  ...{ moved: { downloads: 0, layers: 0 }, built: false, newImage: false, sameEnvironment: true, sameImage: true },
  ...{ disk: null, closureBytes: 5 },
};

describe('a reordering', () => {
  test('is free when nothing was done for it', () => expect(isFree(measurement)).toBe(true));
  test.each([
    { built: true },
    { newImage: true },
    { sameEnvironment: false },
    { sameImage: false },
    { moved: { downloads: 1, layers: 0 } },
    { moved: { downloads: 0, layers: 1 } },
  ])('is not free with %j', (cost) => expect(isFree({ ...measurement, ...cost })).toBe(false));
});

test('the table has a row for what was measured, and names what was left out', () => {
  const result: ModesResult = {
    ...{ bench: 'modes', engine: 'embedded', samples: 2, ownStore: true, configs: [], measurements: [measurement] },
    skipped: [{ mode: 'registry', reason: 'Not there.' }],
    ...{ reorderingIsFree: true, fetchedBytes: 0, tookMs: 1, measuredAt: '', machine: {} },
  };
  const text = modesMarkdown(result);
  expect(text).toContain('| image | reordered | 1 | 10 ms |');
  expect(text).toContain('Mode registry was left out: Not there.');
  expect(median([3, 1, 2])).toBe(2);
});

test('the cache asks upstream once, counts what it sends, and passes on that something is not there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-mirror-'));
  let asked = 0;
  const upstream = createServer((request, response) => {
    asked += 1;
    if (request.url === '/debian/there') response.end('hello');
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const cache = await startMirrorCache(folder);
  try {
    const url = cache.urlOf(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/debian/`);
    const answers = await Promise.all([fetch(`${url}/there`), fetch(`${url}/there`)]);
    expect(await Promise.all(answers.map((it) => it.text()))).toEqual(['hello', 'hello']);
    expect((await fetch(`${url}/away`)).status).toBe(404);
    expect({ asked, sent: cache.sentBytes, fetched: cache.fetchedBytes }).toEqual({ asked: 2, sent: 10, fetched: 5 });
  } finally {
    await cache.close();
    upstream.close();
    rmSync(folder, { recursive: true });
  }
});
