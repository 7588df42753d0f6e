import { describe, expect, test } from 'vitest';
import { parseChallenges } from './challenge.ts';
import { apiHostOf, formatReference, isLoopback, parseReference } from './reference.ts';
import { withoutSecrets } from './registry-errors.ts';
import { delayBefore } from './retry.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('references', () => {
  test.each([
    ['debian', 'docker.io/library/debian:latest'],
    ['debian:12', 'docker.io/library/debian:12'],
    ['user/app', 'docker.io/user/app:latest'],
    ['index.docker.io/debian', 'docker.io/library/debian:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/a/b/c:v1.2', 'localhost:5000/a/b/c:v1.2'],
    ['ghcr.io/o/app@' + digest, 'ghcr.io/o/app@' + digest],
    ['ghcr.io/o/app:1@' + digest, 'ghcr.io/o/app:1@' + digest],
    ['[::1]:5000/app', '[::1]:5000/app:latest'],
    ['a__b/c-d.e', 'docker.io/a__b/c-d.e:latest'],
  ])('%s means %s', (text, whole) => {
    expect(formatReference(parseReference(text))).toBe(whole);
  });

  test.each([
    '',
    'Debian',
    'a//b',
    'app:',
    'app:a/b',
    'app@sha256:12',
    'app@md5:1',
    'x@y@z',
    '-a/b',
    'a..b/c',
    `a/${'b'.repeat(256)}`,
    `app:${'t'.repeat(129)}`,
    'http://host/app',
    'host.com/../app',
  ])('`%s` is refused', (text) => {
    expect(() => parseReference(text)).toThrow(/is no reference of an image/);
  });

  test('know who answers for them, and what is on this machine', () => {
    expect(apiHostOf('docker.io')).toBe('registry-1.docker.io');
    expect(['localhost:5000', '127.1.2.3', '[::1]:80'].every(isLoopback)).toBe(true);
    expect(['localhost.example.com', '10.0.0.1', 'example.com:5000', '127.0.0.1.example.com'].some(isLoopback)).toBe(
      false,
    );
  });
});

test('challenges are read with quotes, commas in values, and several in a header', () => {
  expect(
    parseChallenges('Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull,push"'),
  ).toEqual([
    {
      scheme: 'bearer',
      parameters: { realm: 'https://auth.example/token', service: 'r', scope: 'repository:a:pull,push' },
    },
  ]);
  expect(
    parseChallenges('Basic realm="a \\"b\\"", Bearer realm=x').map(({ scheme, parameters }) => [
      scheme,
      parameters['realm'],
    ]),
  ).toEqual([
    ['basic', 'a "b"'],
    ['bearer', 'x'],
  ]);
  expect(parseChallenges('Negotiate')).toEqual([{ scheme: 'negotiate', parameters: {} }]);
  expect(parseChallenges('')).toEqual([]);
});

test('delays grow, and follow what the registry asks for up to a minute', () => {
  expect(delayBefore(1, null)).toBeLessThanOrEqual(250);
  expect(delayBefore(3, null)).toBeGreaterThanOrEqual(500);
  expect(delayBefore(30, null)).toBeLessThanOrEqual(10_000);
  expect(delayBefore(1, '7')).toBe(7000);
  expect(delayBefore(1, '3600')).toBe(60_000);
  expect(delayBefore(1, new Date(5000).toUTCString(), 2000)).toBe(3000);
});

test("a registry's words lose their secrets", () => {
  const told = withoutSecrets('sent Bearer abcdefgh12345 to https://u:p@h/x?token=t1&a=1&X-Amz-Signature=s2');
  expect(told).toBe('sent Bearer … to https://…@h/x?token=…&a=1&X-Amz-Signature=…');
});
