import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dockerCredentials } from './credentials.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-docker-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const base64 = (text: string) => Buffer.from(text).toString('base64');
const write = (config: unknown) => writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
const read = dockerCredentialsOf();

function dockerCredentialsOf() {
  return async (registry: string) =>
    dockerCredentials({ folder, environment: { PATH: `${folder}:/usr/bin:/bin` } })(registry);
}

function helper(name: string, script: string): void {
  writeFileSync(join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, `docker-credential-${name}`), 0o755);
}

test('nothing is known where Docker has no configuration', async () => {
  expect(await read('example.com')).toBeUndefined();
});

test('entries are found by host, by old URLs, and for Docker Hub', async () => {
  write({
    auths: {
      'example.com:5000': { auth: base64('ann:se:cret') },
      'https://old.example/v1/': { username: 'bob', password: 'pw' },
      'https://index.docker.io/v1/': { identitytoken: 'id' },
      'ready.example': { registrytoken: 'rt' },
      'empty.example': {},
    },
  });
  expect(await read('example.com:5000')).toEqual({ kind: 'password', username: 'ann', password: 'se:cret' });
  expect(await read('old.example')).toEqual({ kind: 'password', username: 'bob', password: 'pw' });
  expect(await read('docker.io')).toEqual({ kind: 'identity', token: 'id' });
  expect(await read('ready.example')).toEqual({ kind: 'bearer', token: 'rt' });
  expect(await read('empty.example')).toBeUndefined();
  expect(await read('example.com')).toBeUndefined();
});

test('helpers are asked: the one of the registry, else the store; what none has may be in the file', async () => {
  helper(
    'one',
    'read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"u-$server\\",\\"Secret\\":\\"s\\"}"',
  );
  helper(
    'store',
    'read s; [ "$s" = token.example ] && echo \'{"Username":"<token>","Secret":"t"}\' && exit; echo credentials not found in native keychain; exit 1',
  );
  write({
    credsStore: 'store',
    credHelpers: { 'one.example': 'one', 'docker.io': 'one' },
    auths: { 'file.example': { auth: base64('f:g') } },
  });
  expect(await read('one.example')).toEqual({ kind: 'password', username: 'u-one.example', password: 's' });
  expect(await read('docker.io')).toMatchObject({ username: 'u-https://index.docker.io/v1/' });
  expect(await read('token.example')).toEqual({ kind: 'identity', token: 't' });
  expect(await read('file.example')).toMatchObject({ username: 'f' });
  expect(await read('none.example')).toBeUndefined();
});

test('what is damaged is told without a secret in it', async () => {
  writeFileSync(join(folder, 'config.json'), '{"auths": {"x": {"auth": "c2VjcmV0"');
  const failure = await read('x').catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(String(failure)).not.toContain('c2VjcmV0');
  write({ auths: { x: { auth: base64('no colon') } } });
  await expect(read('x')).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  write({ credsStore: 'absent' });
  await expect(read('x')).rejects.toThrow(/docker-credential-absent.*not installed/);
  write({ credsStore: '../evil' });
  await expect(read('x')).rejects.toThrow(/no name of a credential helper/);
  helper('bad', 'echo keychain is locked >&2; exit 2');
  write({ credsStore: 'bad' });
  await expect(read('x')).rejects.toThrow(/keychain is locked/);
  helper('bad', 'echo \'{"Secret":"hidden"}\'');
  const odd = await read('x').catch((error: unknown) => error);
  expect(odd).toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(String(odd)).not.toContain('hidden');
});
