import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../core/package-root.ts';
import { runDoctor } from './doctor.ts';
import { readSettings } from './settings.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync('/tmp/berth-doctor-');
});
afterEach(() => rmSync(home, { recursive: true }));

/** A mirror that refuses at once, so that no test waits for a network. */
const mirror = 'http://user:secret@127.0.0.1:1/debian';

async function check(name: string, variables: Record<string, string> = {}, hasApt = true) {
  const env = { HOME: home, BERTH_HOME: home, BERTH_DEBIAN_MIRROR: mirror, ...variables };
  const settings = readSettings({ env, root: true });
  const report = await runDoctor({ settings, packageRoot: home, hasApt: () => Promise.resolve(hasApt) });
  const found = report.checks.find((candidate) => candidate.name === name);
  expect(found, `There is no check ${name}.`).toBeDefined();
  return { report, found };
}

describe('runDoctor', () => {
  it('says what to do about everything that is not well', async () => {
    const { report } = await check('disk');
    for (const { name, status, fix } of report.checks) {
      if (status !== 'ok') expect(fix, name).toMatch(/\w/);
    }
    expect(report.ok).toBe(report.checks.every(({ status }) => status !== 'missing'));
  });

  it('tells of a mirror that does not answer, without its password', async () => {
    const { found } = await check('Debian mirror');
    expect(found).toMatchObject({ status: 'warning', detail: 'http://127.0.0.1:1/debian does not answer.' });
    expect((await check('Debian mirror', { BERTH_SOURCE: 'debian' })).found?.status).toBe('warning');
  });

  it('names Debian’s package with apt, and what it is called elsewhere', async () => {
    const none = { BERTH_OCI_RUNTIME: '/no/such/runtime' };
    const { report, found } = await check('OCI runtime', none);
    expect(found).toMatchObject({ status: 'missing', fix: expect.stringMatching(/apt-get install .*crun$/) as string });
    expect(report.ok).toBe(false);
    const elsewhere = await check('OCI runtime', none, false);
    expect(elsewhere.found?.fix).toBe("Install `crun` with this system's package manager.");
  });

  it('finds that the package has no agent for this machine', async () => {
    const { found } = await check('agent');
    expect(found).toMatchObject({ status: 'missing' });
  });

  it('finds that the store is damaged', async () => {
    const folder = join(home, 'store/nix/var/nix/db');
    expect((await check('store')).found).toMatchObject({ status: 'ok' });
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, 'db.sqlite'),
      'this is no database, but longer than a header of one would be. '.repeat(20),
    );
    expect((await check('store')).found).toMatchObject({
      status: 'missing',
      fix: `nix-store --store ${join(home, 'store')} --verify --check-contents --repair`,
    });
  });

  it('needs what scripts/setup installs', async () => {
    const { report } = await check('disk');
    const setup = readFileSync(join(packageRoot, 'scripts/setup'), 'utf8');
    const use = setup.slice(0, setup.indexOf('if [ "$purpose" = tests ]'));
    const programs = [...use.matchAll(/need (\S+) (\S+) "/g)].map((match) => match[1]);
    const checked: Record<string, string> = {
      'nix-store': 'nix',
      crun: 'OCI runtime',
      runc: 'OCI runtime',
      bwrap: 'bubblewrap',
      newuidmap: 'user namespaces',
    };
    const names = report.checks.map(({ name }) => name);
    for (const program of programs) expect(names).toContain(checked[program ?? ''] ?? program);
  });
});
