/**
 * Adds and removes packages in the text of a config, in place: comments, order and layout stay. Only a list that is plain
 * enough is touched; else the error says which line to write by hand.
 */
import { BerthError } from '../core/errors.ts';
import { tokenize, type Token } from './tokenize.ts';

/** Where a config has its list of packages. */
interface PackageList {
  /** Indexes of the bracket tokens. */
  readonly open: number;
  readonly close: number;
  /** What stands before a package's name: `pkgs.`, or nothing where the list is within `with pkgs;`. */
  readonly prefix: string;
  /** Each element: its first and last token. */
  readonly elements: readonly { readonly first: number; readonly last: number; readonly text: string }[];
}

const listKeys = ['packages', 'deps', 'nativeBuildInputs', 'buildInputs'];

/**
 * @param text of a config.nix
 * @param names packages as a config writes them: `git`, `python3Packages.pip`, `debian.git`
 * @param file for the error
 * @returns the new text; the same when all names are there already
 * @throws BerthError CONFIG_NOT_EDITABLE
 */
export function addPackages(text: string, names: readonly string[], file = 'config.nix'): string {
  let edited = text;
  for (const name of names) edited = addPackage(edited, name, file);
  return edited;
}

/**
 * @returns the text without the packages; the same when none of them is there
 * @throws BerthError CONFIG_NOT_EDITABLE
 */
export function removePackages(text: string, names: readonly string[], file = 'config.nix'): string {
  let edited = text;
  for (const name of names) edited = removePackage(edited, name, file);
  return edited;
}

/** @returns the names of the packages in the config's list, without `pkgs.` */
export function listedPackages(text: string, file = 'config.nix'): string[] {
  const list = findList(text, tokenize(text), file, 'read');
  return list.elements.map((element) => nameOf(element.text, list.prefix));
}

function addPackage(text: string, name: string, file: string): string {
  checkName(name, file);
  const tokens = tokenize(text);
  const list = findList(text, tokens, file, name);
  if (list.elements.some((element) => nameOf(element.text, list.prefix) === name)) return text;
  const versioned = /^([^@]+)@(.+)$/.exec(name);
  if (versioned) {
    const written = `(at ${quoted(versioned[1] ?? '')} ${quoted(versioned[2] ?? '')})`;
    const edited = withArgument('at', insertElement(text, tokens, list, written), tokens, file, name);
    return verified(edited, file, [...list.elements.map((element) => element.text), written], name);
  }
  // A package of another source is written whole.
  const written = /^(?:debian|nixpkgs)\./.test(name) ? wholeName(name, tokens, file) : `${list.prefix}${name}`;
  const edited = insertElement(text, tokens, list, written);
  return verified(edited, file, [...list.elements.map((element) => element.text), written], name);
}

function removePackage(text: string, name: string, file: string): string {
  const tokens = tokenize(text);
  const list = findList(text, tokens, file, name);
  const index = list.elements.findIndex((element) => nameOf(element.text, list.prefix) === name);
  const element = list.elements[index];
  if (!element) return text;
  const edited = deleteElement(text, tokens, element);
  const rest = list.elements.filter((_, position) => position !== index).map((other) => other.text);
  return verified(edited, file, rest, name);
}

/** The edit is read again: anything but exactly the wanted elements means that the list was not what it seemed. */
function verified(edited: string, file: string, wanted: readonly string[], name: string): string {
  const list = findList(edited, tokenize(edited), file, name);
  const found = list.elements.map((element) => element.text);
  if (found.length === wanted.length && [...found].sort().join('\0') === [...wanted].sort().join('\0')) return edited;
  throw notEditable(file, name, 'its list could not be read back');
}

function findList(text: string, tokens: readonly Token[], file: string, name: string): PackageList {
  const candidates: PackageList[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.kind !== 'word' || !listKeys.includes(token.text)) continue;
    // An attribute of its own, not the end of `pkgs.packages` nor an argument.
    if (tokens[index - 1]?.text === '.' || tokens[index + 1]?.text !== '=') continue;
    const list = readList(text, tokens, index + 2);
    if (!list) throw notEditable(file, name, `\`${token.text}\` is no plain list`, token.line);
    candidates.push(list);
    if (token.text === 'packages' || token.text === 'deps') break;
  }
  // `packages` before what mkShell has for builds.
  const list = candidates.at(-1);
  if (candidates.length === 0 || !list) throw notEditable(file, name, 'it has no list of packages');
  if (candidates.length > 1 && !isPreferred(text, tokens, list)) {
    throw notEditable(file, name, 'it has several lists of packages');
  }
  return list;
}

function isPreferred(text: string, tokens: readonly Token[], list: PackageList): boolean {
  const before = tokens.slice(0, list.open).findLast((token) => listKeys.includes(token.text));
  return before?.text === 'packages' || before?.text === 'deps' || text === '';
}

/** @returns the list whose value begins at that token: `[ … ]`, or `with pkgs; [ … ]` */
function readList(text: string, tokens: readonly Token[], start: number): PackageList | undefined {
  let index = start;
  let prefix = '';
  let withs = 0;
  while (tokens[index]?.text === 'with') {
    const scope = tokens[index + 1];
    if (scope?.kind !== 'word' || tokens[index + 2]?.text !== ';') return undefined;
    withs += 1;
    index += 3;
  }
  if (tokens[index]?.text !== '[') return undefined;
  const open = index;
  const elements: { first: number; last: number; text: string }[] = [];
  index += 1;
  while (tokens[index] !== undefined && tokens[index]?.text !== ']') {
    const last = endOfElement(tokens, index);
    const first = tokens[index];
    const end = last === undefined ? undefined : tokens[last];
    if (last === undefined || !first || !end) return undefined;
    elements.push({ first: index, last, text: text.slice(first.start, end.end) });
    index = last + 1;
  }
  const close = index;
  if (tokens[close] === undefined || tokens[close + 1]?.text !== ';') return undefined;
  if (withs === 0) prefix = prefixOf(tokens, elements);
  return { open, close, prefix, elements };
}

/** What the elements have before their names: most often `pkgs.`. */
function prefixOf(
  tokens: readonly Token[],
  elements: readonly { readonly first: number; readonly last: number }[],
): string {
  const counts = new Map<string, number>();
  for (const { first, last } of elements) {
    const word = tokens[first];
    if (last > first && word?.kind === 'word' && tokens[first + 1]?.text === '.') {
      counts.set(word.text, (counts.get(word.text) ?? 0) + 1);
    }
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  return `${most?.[0] ?? 'pkgs'}.`;
}

/** @returns the last token of the element that begins there, or undefined when it never ends */
function endOfElement(tokens: readonly Token[], start: number): number | undefined {
  let index = endOfTerm(tokens, start);
  while (index !== undefined && tokens[index + 1]?.text === '.') index = endOfTerm(tokens, index + 2);
  // `a.b or c` is one element.
  if (index !== undefined && tokens[index + 1]?.text === 'or') return endOfElement(tokens, index + 2);
  return index;
}

const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}', '${': '}' };

function endOfTerm(tokens: readonly Token[], start: number): number | undefined {
  const close = closing[tokens[start]?.text ?? ''];
  if (tokens[start] === undefined) return undefined;
  if (close === undefined) return tokens[start].kind === 'word' || tokens[start].kind === 'literal' ? start : undefined;
  let index = start + 1;
  while (tokens[index] !== undefined) {
    if (tokens[index]?.text === close) return index;
    if (closing[tokens[index]?.text ?? ''] !== undefined) {
      const end = endOfTerm(tokens, index);
      if (end === undefined) return undefined;
      index = end;
    }
    index += 1;
  }
  return undefined;
}

function nameOf(element: string, prefix: string): string {
  const [, name, wanted] = /^\(\s*at\s+"([^"$\\]+)"\s+"([^"$\\]+)"\s*\)$/.exec(element) ?? [];
  if (name !== undefined && wanted !== undefined) return `${name}@${wanted}`;
  return prefix !== '' && element.startsWith(prefix) ? element.slice(prefix.length) : element;
}

function insertElement(text: string, tokens: readonly Token[], list: PackageList, written: string): string {
  const close = tokens[list.close];
  const last = list.elements.at(-1);
  if (!close) return text;
  const lineStart = text.lastIndexOf('\n', close.start - 1) + 1;
  const beforeClose = text.slice(lineStart, close.start);
  const open = tokens[list.open];
  const severalLines = open !== undefined && text.slice(open.start, close.start).includes('\n');
  if (severalLines && beforeClose.trim() === '') {
    // A line of its own, indented as the last element is.
    const at = last === undefined ? undefined : tokens[last.first];
    const indent = at === undefined ? `${beforeClose}  ` : indentOf(text, at.start);
    return `${text.slice(0, lineStart)}${indent}${written}\n${text.slice(lineStart)}`;
  }
  // On one line: before the bracket, with one blank on each side.
  const head = text.slice(0, close.start).replace(/[ \t]+$/, '');
  return `${head} ${written} ${text.slice(close.start)}`;
}

function deleteElement(
  text: string,
  tokens: readonly Token[],
  element: { readonly first: number; readonly last: number },
): string {
  const first = tokens[element.first];
  const last = tokens[element.last];
  if (!first || !last) return text;
  const lineStart = text.lastIndexOf('\n', first.start - 1) + 1;
  const newline = text.indexOf('\n', last.end);
  const lineEnd = newline === -1 ? text.length : newline;
  const before = text.slice(lineStart, first.start);
  const after = text.slice(last.end, lineEnd);
  // Alone on its line, perhaps with a comment about it: the line goes.
  if (before.trim() === '' && /^\s*(?:#.*)?$/.test(after) && newline !== -1) {
    return text.slice(0, lineStart) + text.slice(newline + 1);
  }
  // Within a line: with the blanks before it.
  const head = text.slice(0, first.start).replace(/[ \t]+$/, before.trim() === '' ? before : '');
  const tail = text.slice(last.end);
  return before.trim() === '' ? head + tail.replace(/^[ \t]+/, '') : head + tail;
}

function indentOf(text: string, offset: number): string {
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1;
  return /^[ \t]*/.exec(text.slice(lineStart, offset))?.[0] ?? '';
}

/** The config's arguments with one more, where it has not got it: `{ pkgs, ... }:` becomes `{ pkgs, at, ... }:`. */
function withArgument(argument: string, text: string, tokens: readonly Token[], file: string, name: string): string {
  const open = tokens[0]?.text === '{' ? tokens[0] : undefined;
  const close = tokens.findIndex((token) => token.text === '}');
  const formals = tokens.slice(1, close);
  if (!open || tokens[close + 1]?.text !== ':' || formals.some((token) => token.text === '{')) {
    throw new BerthError(
      'CONFIG_NOT_EDITABLE',
      `${file} takes no arguments by name, so it can't ask for \`${argument}\`.`,
      {
        hint: `Begin it with \`{ pkgs, ${argument}, ... }:\`, then add ${name} again.`,
      },
    );
  }
  if (formals.some((token) => token.text === argument)) return text;
  // Before the `...`, which ends the list, else after the last argument. All of it is before the packages.
  const dots = formals.find((token) => token.text === '.');
  if (dots) return `${text.slice(0, dots.start)}${argument}, ${text.slice(dots.start)}`;
  const last = formals.at(-1);
  const at = last?.end ?? open.end;
  const comma = last === undefined || last.text === ',' ? ' ' : ', ';
  return `${text.slice(0, at)}${comma}${argument}${text.slice(at)}`;
}

function quoted(text: string): string {
  return `"${text}"`;
}

function checkName(name: string, file: string): void {
  // Neither part can end the text that it is written into.
  if (/^[\w.+'-]+@[^"\\$\n]{1,100}$/.test(name)) return;
  const part = String.raw`(?:[A-Za-z_][\w'-]*|"[^"$\\]+")`;
  if (new RegExp(`^${part}(?:\\.${part})*$`).test(name)) return;
  throw new BerthError('CONFIG_NOT_EDITABLE', `\`${name}\` is no name that ${file} could have.`, {
    hint: 'Names are letters, digits, `-` and `_`, with dots between sets; quote a name that begins with a digit.',
  });
}

/** `debian.git` needs the argument `debian`. */
function wholeName(name: string, tokens: readonly Token[], file: string): string {
  const source = name.slice(0, name.indexOf('.'));
  const body = tokens.findIndex((token) => token.text === ':');
  const takes = tokens.slice(0, body === -1 ? 0 : body).some((token) => token.text === source);
  if (takes) return name;
  throw new BerthError('CONFIG_NOT_EDITABLE', `${file} does not take the argument \`${source}\`.`, {
    hint: `Write \`${source}\` into the config's arguments, as in \`{ pkgs, ${source}, ... }:\`, then try again.`,
  });
}

function notEditable(file: string, name: string, why: string, line?: number): BerthError {
  return new BerthError('CONFIG_NOT_EDITABLE', `${file} can't be edited by a program: ${why}.`, {
    hint: `Write \`pkgs.${name}\` into the list of packages by hand.`,
    ...(line === undefined ? {} : { location: { file, line } }),
  });
}
