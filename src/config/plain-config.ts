/**
 * Recognises configs that say nothing but names and literals, so that they need no evaluator:
 *
 *     { pkgs, ... }: { packages = [ pkgs.git pkgs."g++" ]; env.A = "b"; shellHook = ''…''; command = [ "x" ]; ports = [ 80 ]; }
 *     { pkgs }: { deps = with pkgs; [ git jq ]; env = { PORT = 3000; DEBUG = true; }; }
 *
 * Everything that is not on this list is left to Nix: interpolation, paths, `let`, functions, defaults of arguments, names
 * that could mean something else. A config that has a fault is left to it too, since it knows how to say what is wrong.
 */
import { tokenize, type Token } from './tokenize.ts';

export interface PlainConfig {
  /** In the config's order. */
  readonly packages: readonly { readonly source: PlainSource; readonly name: string }[];
  /** As Nix's toString gives them. */
  readonly env: Readonly<Record<string, string>>;
  readonly shellHook: string;
  readonly command: readonly string[] | null;
  readonly ports: readonly number[];
}

export type PlainSource = 'pkgs' | 'debian' | 'nixpkgs';

const sources: readonly string[] = ['pkgs', 'debian', 'nixpkgs'] satisfies PlainSource[];
/** Arguments that a config may take besides, as long as it does not use them. */
const otherArguments = ['lib', 'system'];
const keywords = ['if', 'then', 'else', 'assert', 'with', 'let', 'in', 'rec', 'inherit', 'or'];
/** Names that are always defined, and so win over those of `with`. */
const globals = [
  ...['abort', 'baseNameOf', 'break', 'builtins', 'derivation', 'derivationStrict', 'dirOf', 'false', 'fetchGit'],
  ...['fetchMercurial', 'fetchTarball', 'fetchTree', 'fetchurl', 'fromTOML', 'import', 'isNull', 'map', 'null'],
  ...['placeholder', 'removeAttrs', 'scopedImport', 'throw', 'toString', 'true'],
];

/** Thrown within this file where a config is not plain. */
class NotPlain extends Error {}

/** @returns undefined when only Nix can say what the text means */
export function readPlainConfig(text: string): PlainConfig | undefined {
  // Signs that Nix and JavaScript might take in different ways.
  if (/[\r\0\uFEFF\uFFFD]/.test(text)) return undefined;
  const tokens = tokenize(text);
  if (!hasPlainGaps(text, tokens)) return undefined;
  try {
    return new Reader(tokens).config();
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

/** Whether what lies between tokens is blanks and comments in Nix's sense: JavaScript knows more kinds of blanks. */
function hasPlainGaps(text: string, tokens: readonly Token[]): boolean {
  let end = 0;
  for (const { start, end: next } of [...tokens, { start: text.length, end: text.length }]) {
    if (!/^(?:[ \t\n]|#[^\n]*|\/\*[\s\S]*?\*\/)*$/.test(text.slice(end, start))) return false;
    end = next;
  }
  return true;
}

class Reader {
  readonly #tokens: readonly Token[];
  #at = 0;
  #arguments: readonly string[] = [];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  config(): PlainConfig {
    this.#arguments = this.#formals();
    const found = this.#body();
    if (this.#peek() !== undefined) throw new NotPlain();
    return found;
  }

  /** `{ pkgs, debian, ... }:` */
  #formals(): string[] {
    const names: string[] = [];
    this.#expect('{');
    while (!this.#skip('}')) {
      if (this.#skip('.')) {
        // One sign in Nix: no blanks within.
        const start = this.#tokens[this.#at - 1]?.start ?? 0;
        this.#expect('.');
        this.#expect('.');
        if (this.#tokens[this.#at - 1]?.start !== start + 2) throw new NotPlain();
        this.#expect('}');
        break;
      }
      const name = this.#word();
      if (names.includes(name) || !(sources.includes(name) || otherArguments.includes(name))) throw new NotPlain();
      names.push(name);
      if (this.#peek()?.text !== '}') this.#expect(',');
    }
    // `{ }:` and `{ ... }:` are told from a config that wants the package set by nothing.
    if (names.length === 0) throw new NotPlain();
    this.#expect(':');
    return names;
  }

  #body(): PlainConfig {
    const seen = new Set<string>();
    let packages: PlainConfig['packages'] | undefined;
    let env: Record<string, string> = {};
    let shellHook = '';
    let command: string[] | null = null;
    let ports: number[] = [];
    this.#expect('{');
    while (!this.#skip('}')) {
      const key = this.#word();
      if (key === 'env' && this.#skip('.')) {
        if (seen.has('env')) throw new NotPlain();
        const name = this.#variableName();
        if (Object.hasOwn(env, name)) throw new NotPlain();
        this.#expect('=');
        env = { ...env, [name]: this.#variable() };
        this.#expect(';');
        continue;
      }
      if (seen.has(key) || (key === 'env' && Object.keys(env).length > 0)) throw new NotPlain();
      seen.add(key);
      this.#expect('=');
      if (key === 'packages' || key === 'deps') packages = this.#packages();
      else if (key === 'env') env = this.#variables();
      else if (key === 'shellHook') shellHook = this.#string();
      else if (key === 'command') command = this.#list(() => this.#string());
      else if (key === 'ports') ports = this.#list(() => this.#port());
      else throw new NotPlain();
      this.#expect(';');
    }
    // Replit's shape has deps and env only.
    const isReplit = seen.has('deps') && [...seen].every((key) => key === 'deps' || key === 'env');
    if (!packages || (seen.has('deps') && !isReplit) || command?.length === 0) throw new NotPlain();
    return { packages, env, shellHook, command, ports };
  }

  #packages(): PlainConfig['packages'] {
    let scope: PlainSource | undefined;
    if (this.#skip('with')) {
      scope = this.#source();
      this.#expect(';');
    }
    return this.#list(() => {
      const word = this.#word();
      // An argument wins over `with`.
      if (this.#arguments.includes(word)) {
        if (!isSource(word)) throw new NotPlain();
        this.#expect('.');
        return { source: word, name: this.#attribute() };
      }
      if (scope === undefined || globals.includes(word)) throw new NotPlain();
      this.#noMoreOfElement();
      return { source: scope, name: word };
    });
  }

  #source(): PlainSource {
    const name = this.#word();
    if (!isSource(name) || !this.#arguments.includes(name)) throw new NotPlain();
    return name;
  }

  /** The last part of an element: `git` or `"g++"`. */
  #attribute(): string {
    const name = this.#peek()?.kind === 'literal' ? this.#string() : this.#word();
    if (name === '') throw new NotPlain();
    this.#noMoreOfElement();
    return name;
  }

  /** `pkgs.a.b` and `pkgs.a or b` are more than a name. */
  #noMoreOfElement(): void {
    const next = this.#peek()?.text;
    if (next === '.' || next === 'or') throw new NotPlain();
  }

  #variables(): Record<string, string> {
    const found: Record<string, string> = {};
    this.#expect('{');
    while (!this.#skip('}')) {
      const name = this.#variableName();
      if (Object.hasOwn(found, name)) throw new NotPlain();
      this.#expect('=');
      found[name] = this.#variable();
      this.#expect(';');
    }
    return found;
  }

  #variableName(): string {
    const name = this.#word();
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new NotPlain();
    return name;
  }

  #variable(): string {
    const token = this.#peek();
    if (token?.kind === 'word') {
      this.#at += 1;
      if (token.text === 'true') return '1';
      if (token.text === 'false') return '';
      throw new NotPlain();
    }
    return /^\d/.test(token?.text ?? '') ? String(this.#integer()) : this.#string();
  }

  #port(): number {
    const port = this.#integer();
    if (port < 1 || port > 65535) throw new NotPlain();
    return port;
  }

  #integer(): number {
    const { text } = this.#next('literal');
    if (!/^(?:0|[1-9]\d{0,14})$/.test(text)) throw new NotPlain();
    return Number(text);
  }

  #list<T>(element: () => T): T[] {
    const found: T[] = [];
    this.#expect('[');
    while (!this.#skip(']')) found.push(element());
    return found;
  }

  #string(): string {
    const { text } = this.#next('literal');
    const value = text.startsWith('"')
      ? readString(text)
      : text.startsWith("''")
        ? readIndentedString(text)
        : undefined;
    if (value === undefined) throw new NotPlain();
    return value;
  }

  #word(): string {
    const { text } = this.#next('word');
    if (keywords.includes(text) || text.startsWith('__')) throw new NotPlain();
    return text;
  }

  #next(kind: Token['kind']): Token {
    const token = this.#peek();
    if (token?.kind !== kind) throw new NotPlain();
    this.#at += 1;
    return token;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #skip(text: string): boolean {
    if (this.#peek()?.text !== text) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#skip(text)) throw new NotPlain();
  }
}

function isSource(name: string): name is PlainSource {
  return sources.includes(name);
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** @returns what a `"…"` means; undefined when it interpolates or does not end */
function readString(text: string): string | undefined {
  const body = /^"((?:[^"\\]|\\[\s\S])*)"$/.exec(text)?.[1];
  // `$$` has a meaning of its own before a brace.
  if (body === undefined || /\$\$|(?:^|[^\\])(?:\\\\)*\$\{/.test(body)) return undefined;
  return body.replace(/\\([\s\S])/g, (_, sign: string) => escapes[sign] ?? sign);
}

/**
 * @returns what a `''…''` means: without the indentation that all its lines share (parser.y, stripIndentation); undefined
 *   where it has escapes or interpolates
 */
function readIndentedString(text: string): string | undefined {
  const body = /^''((?:[^$']|\$[^{'$]|'[^'$])*)''$/.exec(text)?.[1];
  if (body === undefined) return undefined;
  // Blanks before the first line's end are not part of it.
  const lines = body.replace(/^ *\n/, '').split('\n');
  const indentOf = (line: string) => /^ */.exec(line)?.[0].length ?? 0;
  const shared = Math.min(...lines.filter((line) => indentOf(line) < line.length).map(indentOf));
  const stripped = lines.map((line) => line.slice(Math.min(shared, indentOf(line))));
  // A last line of blanks alone only indents the quotes.
  if (stripped.length > 1 && /^ *$/.test(stripped.at(-1) ?? '')) stripped[stripped.length - 1] = '';
  return stripped.join('\n');
}
