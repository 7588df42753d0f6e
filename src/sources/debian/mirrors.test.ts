import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { aptMirrors, withSecurity } from './mirrors.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-apt-'));
  await mkdir(join(folder, 'sources.list.d'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('reads both forms of source lists and keeps the Debian archives', async () => {
  await writeFile(
    join(folder, 'sources.list'),
    `# deb http://old.example/debian bookworm main
deb [signed-by=/k.gpg] http://one.example/debian/ bookworm main contrib # comment
deb http://one.example/debian-security bookworm-security main
deb-src http://src.example/debian bookworm main
deb http://other.example/apt stable main
`,
  );
  await writeFile(
    join(folder, 'sources.list.d/debian.sources'),
    `Types: deb deb-src
URIs: http://two.example/debian http://three.example/pub/debian
Suites: trixie trixie-updates
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: trixie
Components: main
`,
  );
  await writeFile(join(folder, 'sources.list.d/ignored.txt'), 'deb http://no.example/debian bookworm main\n');
  expect(await aptMirrors(folder)).toEqual({
    main: ['http://one.example/debian', 'http://two.example/debian', 'http://three.example/pub/debian'],
    security: ['http://one.example/debian-security'],
  });
});

test('a host without apt has no mirrors', async () => {
  expect(await aptMirrors(join(folder, 'none'))).toEqual({ main: [], security: [] });
});

test('the security archive is looked for beside the mirror, where none is named', () => {
  expect(withSecurity({ main: ['http://a.example/debian'], security: [] }).security).toEqual([
    'http://a.example/debian-security',
  ]);
  const snapshot = 'http://snap.example/archive/debian/{timestamp}';
  expect(withSecurity({ main: [snapshot], security: [] }).security).toEqual([
    'http://snap.example/archive/debian-security/{timestamp}',
  ]);
  expect(withSecurity({ main: ['http://a.example/debian'], security: ['http://b.example/s'] }).security).toEqual([
    'http://b.example/s',
  ]);
});
