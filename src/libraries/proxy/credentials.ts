/**
 * Who the daemon is to registries: from curl's netrc and from npm's own settings (npm's documentation, "npmrc", auth related
 * configuration). Only the daemon reads them; installs ask the proxy, which adds them.
 */
import { readTextIfThere } from '../../core/files.ts';

/** @returns the value of the Authorization header for a URL, or undefined when nobody is known there */
export type Credentials = (url: URL) => Promise<string | undefined>;

/**
 * Read anew for each question, so that a token that was changed counts at once.
 * @param files absolute paths; those that are not there know nobody
 */
export function readCredentials(files: { readonly netrc?: string; readonly npmrc?: string }): Credentials {
  return async (url) => {
    const npmrc = files.npmrc === undefined ? undefined : await readTextIfThere(files.npmrc);
    const found = npmrc === undefined ? undefined : fromNpmrc(npmrc, url);
    if (found !== undefined) return found;
    const netrc = files.netrc === undefined ? undefined : await readTextIfThere(files.netrc);
    return netrc === undefined ? undefined : fromNetrc(netrc, url);
  };
}

/** `//host/path/:_authToken=…`: the longest path that the URL begins with counts. */
export function fromNpmrc(text: string, url: URL): string | undefined {
  const known = new Map<string, Map<string, string>>();
  for (const line of text.split('\n')) {
    const [, place, key, value] =
      /^\s*\/\/(\S+?):(_authToken|_auth|username|_password)\s*=\s*"?([^"\s]+)"?\s*$/.exec(line) ?? [];
    if (place === undefined || key === undefined || value === undefined) continue;
    const folder = place.replace(/\/?$/, '/');
    known.set(folder, (known.get(folder) ?? new Map<string, string>()).set(key, value));
  }
  const place = `${url.host}${url.pathname}`;
  const [best] = [...known.keys()].filter((folder) => place.startsWith(folder)).sort((a, b) => b.length - a.length);
  const entry = best === undefined ? undefined : known.get(best);
  const token = entry?.get('_authToken');
  if (token !== undefined) return `Bearer ${token}`;
  const both = entry?.get('_auth');
  if (both !== undefined) return `Basic ${both}`;
  const [user, password] = [entry?.get('username'), entry?.get('_password')];
  return user === undefined || password === undefined
    ? undefined
    : basic(user, Buffer.from(password, 'base64').toString('utf8'));
}

/** `machine HOST login USER password PASSWORD`; a `default` is not followed, since it would tell every registry. */
export function fromNetrc(text: string, url: URL): string | undefined {
  const words = text.split(/\s+/);
  let machine: string | undefined;
  let login = '';
  for (let at = 0; at < words.length; at += 1) {
    const value = words[at + 1] ?? '';
    switch (words[at] ?? '') {
      case 'machine':
        [machine, login] = [value, ''];
        break;
      case 'default':
        machine = undefined;
        continue;
      case 'login':
        login = value;
        break;
      case 'password':
        if (machine === url.hostname || machine === url.host) return basic(login, value);
        break;
      default:
        continue;
    }
    at += 1;
  }
  return undefined;
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
