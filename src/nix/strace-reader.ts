/**
 * Reads what strace wrote of an evaluation (`strace -f -y --seccomp-bpf -e trace=%file,getdents64`) and tells which paths
 * were read, listed, asked for and missed.
 */
import { posix } from 'node:path';

/** How a path was used; one path can be in several sets. All paths are absolute and normal. */
export interface PathsSeen {
  readonly opened: Set<string>;
  readonly listed: Set<string>;
  readonly absent: Set<string>;
  readonly links: Set<string>;
  readonly exists: Set<string>;
}

/**
 * @param text the whole trace
 * @param counts whether a path matters; asked with each normal, absolute path
 */
export function readStrace(text: string, counts: (path: string) => boolean): PathsSeen {
  const seen: PathsSeen = {
    opened: new Set(),
    listed: new Set(),
    absent: new Set(),
    links: new Set(),
    exists: new Set(),
  };
  // Calls of several threads are cut in two: `<unfinished ...>` and `<... name resumed>`.
  const unfinished = new Map<string, string>();
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    const line = text.slice(start, end);
    start = end + 1;
    const whole = joinUnfinished(line, unfinished);
    if (whole !== undefined) readCall(whole, counts, seen);
  }
  return seen;
}

function joinUnfinished(line: string, unfinished: Map<string, string>): string | undefined {
  const pid = /^\s*(\d+)\s+/.exec(line);
  const call = pid ? line.slice(pid[0].length) : line;
  const key = pid?.[1] ?? '';
  if (call.endsWith('<unfinished ...>')) {
    unfinished.set(key, call.slice(0, -'<unfinished ...>'.length));
    return undefined;
  }
  const resumed = /^<\.\.\. \w+ resumed>/.exec(call);
  if (!resumed) return call;
  const begin = unfinished.get(key) ?? '';
  unfinished.delete(key);
  return begin + call.slice(resumed[0].length);
}

const failed = / = -1 (E[A-Z0-9]+)/;
const missing = new Set(['ENOENT', 'ENOTDIR']);

function readCall(call: string, counts: (path: string) => boolean, seen: PathsSeen): void {
  const open = call.indexOf('(');
  if (open <= 0) return;
  const name = call.slice(0, open);
  const args = call.slice(open + 1);
  if (name === 'getdents64' || name === 'getdents') {
    const path = fdPath(args);
    if (path !== undefined && counts(path)) seen.listed.add(path);
    return;
  }
  const path = firstPath(args);
  if (path === undefined || !counts(path)) return;
  const error = failed.exec(call)?.[1];
  if (error !== undefined) {
    if (missing.has(error)) seen.absent.add(path);
    else if (name.startsWith('readlink') && error === 'EINVAL') seen.exists.add(path);
    // Anything else, such as EACCES, depends on the folder's permissions; that it exists is all that can be told.
    else seen.exists.add(path);
    return;
  }
  if (name.startsWith('readlink')) seen.links.add(path);
  else if ((name === 'open' || name === 'openat' || name === 'openat2') && !args.includes('O_DIRECTORY')) {
    seen.opened.add(path);
  } else seen.exists.add(path);
}

// `AT_FDCWD</cwd>, "path"`, `5</folder>, "name"`, `5</file>, ""` or `"path"`.
function firstPath(args: string): string | undefined {
  if (args.startsWith('"')) {
    const path = quoted(args, 0);
    return path === undefined || !path.startsWith('/') ? undefined : posix.normalize(path);
  }
  const folder = fdPath(args);
  if (folder === undefined) return undefined;
  const quote = args.indexOf('"', folder.length);
  const path = quote === -1 ? undefined : quoted(args, quote);
  if (path === undefined) return undefined;
  if (path.startsWith('/')) return posix.normalize(path);
  return path === '' ? folder : posix.join(folder, path);
}

function fdPath(args: string): string | undefined {
  const match = /^(?:AT_FDCWD|\d+)<([^>]*(?:\\x3e[^>]*)*)>/.exec(args);
  const path = match?.[1];
  if (path === undefined) return undefined;
  const plain = unescape(path.replace(/\(deleted\)$/, ''));
  return plain.startsWith('/') ? plain : undefined;
}

/** @returns the C string that begins at the quote, or undefined when it is cut off */
function quoted(text: string, quote: number): string | undefined {
  let end = quote + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  if (text[end] !== '"' || text.startsWith('...', end + 1)) return undefined;
  return unescape(text.slice(quote + 1, end));
}

const simpleEscapes: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, v: 11, f: 12, a: 7, b: 8, e: 27 };

/** Undoes strace's C escapes: `\303\251` are the bytes of é in UTF-8. */
function unescape(text: string): string {
  if (!text.includes('\\')) return text;
  const bytes: Buffer[] = [];
  const pattern = /\\(?:([0-7]{1,3})|x([0-9a-f]{2})|(.))|[^\\]+/gs;
  for (const match of text.matchAll(pattern)) {
    const [whole, octal, hex, simple] = match;
    if (octal !== undefined) bytes.push(Buffer.from([parseInt(octal, 8)]));
    else if (hex !== undefined) bytes.push(Buffer.from([parseInt(hex, 16)]));
    else if (simple !== undefined) {
      const code = simpleEscapes[simple];
      bytes.push(code === undefined ? Buffer.from(simple) : Buffer.from([code]));
    } else bytes.push(Buffer.from(whole));
  }
  return Buffer.concat(bytes).toString('utf8');
}
