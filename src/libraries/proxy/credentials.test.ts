import { expect, it } from 'vitest';
import { fromNetrc, fromNpmrc } from './credentials.ts';

const url = (text: string) => new URL(text);
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

it("knows tokens of npm's settings by host and folder", () => {
  const text = `
registry=https://npm.example/
//npm.example/:_authToken=wide
//npm.example/team/:_authToken="near"
//basic.example/:_auth=${Buffer.from('a:b').toString('base64')}
//other.example:8080/:username=ann
//other.example:8080/:_password=${Buffer.from('secret').toString('base64')}
`;
  expect(fromNpmrc(text, url('https://npm.example/a/-/a.tgz'))).toBe('Bearer wide');
  expect(fromNpmrc(text, url('https://npm.example/team/a.tgz'))).toBe('Bearer near');
  expect(fromNpmrc(text, url('https://basic.example/x'))).toBe(basic('a:b'));
  expect(fromNpmrc(text, url('http://other.example:8080/x'))).toBe(basic('ann:secret'));
  expect(fromNpmrc(text, url('https://npm.example.evil/a'))).toBeUndefined();
});

it('knows users of netrc by host, and nobody elsewhere', () => {
  const text =
    'machine a.example login ann password one\nmachine b.example\n  login bob\n  password two\ndefault login x password y';
  expect(fromNetrc(text, url('https://a.example/x'))).toBe(basic('ann:one'));
  expect(fromNetrc(text, url('https://b.example/x'))).toBe(basic('bob:two'));
  expect(fromNetrc(text, url('https://c.example/x'))).toBeUndefined();
});
