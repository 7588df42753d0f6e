/** Which Debian mirror to use: the host's own apt configuration says it, unless a setting does. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BerthError } from '../../core/errors.ts';
import { exec } from '../../core/exec.ts';
import { readTextIfThere } from '../../core/files.ts';
import { parseParagraphs } from './control.ts';

/**
 * Base URLs of the archives, first choice first: what stands before `/dists` and `/pool`. A URL with `{timestamp}` is a
 * snapshot archive: the moment of the locked release is put in (`20260711T101637Z`).
 */
export interface DebianMirrors {
  readonly main: readonly string[];
  readonly security: readonly string[];
}

interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
}

/**
 * Reads apt's source lists and keeps the Debian archives among them.
 * @param etcApt the folder of apt's configuration
 * @returns the mirrors in the order of the lists; both lists are empty on a host that has no Debian mirror
 */
export async function aptMirrors(etcApt = '/etc/apt'): Promise<DebianMirrors> {
  const sources: AptSource[] = parseOneLineSources((await readTextIfThere(join(etcApt, 'sources.list'))) ?? '');
  for (const name of await namesIn(join(etcApt, 'sources.list.d'))) {
    const text = (await readTextIfThere(join(etcApt, 'sources.list.d', name))) ?? '';
    if (name.endsWith('.list')) sources.push(...parseOneLineSources(text));
    if (name.endsWith('.sources')) sources.push(...parseDeb822Sources(text));
  }
  const main = new Set<string>();
  const security = new Set<string>();
  for (const { uri, suite, components } of sources) {
    if (!/^https?:/.test(uri) || !components.includes('main')) continue;
    if (/-security$|\/updates$/.test(suite)) security.add(uri);
    else if (/\/debian\/?$/.test(new URL(uri).pathname)) main.add(uri);
  }
  return withSecurity({ main: [...main], security: [...security] });
}

/**
 * A mirror of the archive usually has the security archive beside it, as `debian-security`.
 * @returns the mirrors, with the security archive's place worked out where it is not known
 */
export function withSecurity(mirrors: DebianMirrors): DebianMirrors {
  if (mirrors.security.length > 0) return mirrors;
  return {
    main: mirrors.main,
    security: mirrors.main
      .filter((url) => /\/debian(\/|$)/.test(url))
      .map((url) => url.replace(/\/debian(\/|$)/, '/debian-security$1')),
  };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch {
    return [];
  }
}

/** `deb [options] URI suite component…` */
function parseOneLineSources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match) {
      const [, uri = '', suite = '', components = ''] = match;
      sources.push({ uri: trimSlash(uri), suite, components: components.trim().split(/\s+/) });
    }
  }
  return sources;
}

function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const paragraph of parseParagraphs(text)) {
    const words = (name: string) => (paragraph.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
    if (!words('types').includes('deb') || /^(no|false|off|0)$/i.test(paragraph.get('enabled') ?? '')) continue;
    for (const uri of words('uris')) {
      for (const suite of words('suites')) {
        sources.push({ uri: trimSlash(uri), suite, components: words('components') });
      }
    }
  }
  return sources;
}

function trimSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/**
 * @returns whether apt on this host refuses a Release file past its Valid-Until (`Acquire::Check-Valid-Until`); true
 *   where there is no apt
 */
export async function aptChecksValidUntil(signal?: AbortSignal): Promise<boolean> {
  try {
    const result = await exec('apt-config', ['shell', 'value', 'Acquire::Check-Valid-Until/b'], {
      timeoutMs: 10_000,
      ...(signal ? { signal } : {}),
    });
    return !/value='(false|no|off|0)'/i.test(result.stdout);
  } catch (error) {
    if (error instanceof BerthError && error.code === 'TOOL_MISSING') return true;
    throw error;
  }
}
