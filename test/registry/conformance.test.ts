/** The official conformance suite against a registry of its own process, with a token as `docker login` sends it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { startRegistry } from './registry-process.ts';
import { spawn } from 'node:child_process';

const script = resolve(import.meta.dirname, '../../scripts/conformance');
const folder = mkdtempSync(join(tmpdir(), 'berth-conformance-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hasGo = spawnSync('go', ['version']).status === 0;

test.skipIf(!hasGo)(
  `the conformance suite passes${hasGo ? '' : ' (skipped: Go is not installed)'}`,
  { timeout: 900_000 },
  async ({ skip }) => {
    const token = 'a-token-for-conformance';
    const registry = await startRegistry(folder, { token });
    try {
      const child = spawn(script, [registry.url, 'berth', token], { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stdout.on('data', (data: Buffer) => (said += data.toString()));
      child.stderr.on('data', (data: Buffer) => (said += data.toString()));
      const code = await new Promise((resolve) => child.once('exit', resolve));
      if (code === 69) skip(`the suite can't be had: ${said.trim().split('\n').at(-1) ?? ''}`);
      expect(code, said).toBe(0);
      expect(said).toContain('== current edition ==');
    } finally {
      await registry.kill();
    }
  },
);
