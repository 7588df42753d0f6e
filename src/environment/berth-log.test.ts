import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readBerthLog } from './berth-log.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-log-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function textOf(file: string): Promise<string> {
  let text = '';
  for await (const { data } of readBerthLog(file, { follow: false })) text += Buffer.from(data).toString('utf8');
  return text;
}

test('reads the log after its predecessor', async () => {
  writeFileSync(join(directory, 'log.1'), 'old\n');
  writeFileSync(join(directory, 'log'), 'new\n');
  expect(await textOf(join(directory, 'log'))).toBe('old\nnew\n');
});

test('shows no file of the host that the berth has linked in the place of its log', async () => {
  writeFileSync(join(directory, 'secret'), 'precious');
  symlinkSync(join(directory, 'secret'), join(directory, 'log'));
  symlinkSync(join(directory, 'secret'), join(directory, 'log.1'));
  expect(await textOf(join(directory, 'log'))).toBe('');
});

test('is not held up by a pipe in the place of the log', async () => {
  execFileSync('mkfifo', [join(directory, 'log')]);
  expect(await textOf(join(directory, 'log'))).toBe('');
});
