/** Cuts Nix code into tokens: enough to find and edit a list, not to understand an expression. */

export interface Token {
  /** `word`: a name or keyword; `literal`: a string, number, path or address; `mark`: anything else, one sign or `${`. */
  readonly kind: 'word' | 'literal' | 'mark';
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** 1-based. */
  readonly line: number;
}

const patterns = {
  blank: /\s+|#[^\n]*|\/\*[\s\S]*?\*\//y,
  // Before names, since a path can begin like one: `./a`, `../a`, `~/a`, `a/b`, `<nixpkgs>`.
  path: /(?:~|[a-zA-Z0-9._+-]*)(?:\/[a-zA-Z0-9._+-]+)+\/?|<[a-zA-Z0-9._+-]+(?:\/[a-zA-Z0-9._+-]+)*>/y,
  address: /[a-zA-Z][a-zA-Z0-9+.-]*:[a-zA-Z0-9%/?:@&=+$,_.!~*'-]+/y,
  number: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y,
  word: /[a-zA-Z_][a-zA-Z0-9_'-]*/y,
} as const;

/** @returns the tokens; comments and white space are left out; what can't be read becomes marks of one character */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  let line = 1;
  const advance = (end: number) => {
    for (let at = offset; at < end; at += 1) if (text[at] === '\n') line += 1;
    offset = end;
  };
  const push = (kind: Token['kind'], end: number) => {
    tokens.push({ kind, text: text.slice(offset, end), start: offset, end, line });
    advance(end);
  };
  while (offset < text.length) {
    const blank = endOf(patterns.blank, text, offset);
    if (blank !== undefined) {
      advance(blank);
      continue;
    }
    if (text[offset] === '"') push('literal', endOfString(text, offset));
    else if (text.startsWith("''", offset)) push('literal', endOfIndentedString(text, offset));
    else if (text.startsWith('${', offset)) push('mark', offset + 2);
    else {
      const literal =
        endOf(patterns.path, text, offset) ??
        endOf(patterns.address, text, offset) ??
        endOf(patterns.number, text, offset);
      const word = endOf(patterns.word, text, offset);
      if (literal !== undefined) push('literal', literal);
      else if (word !== undefined) push('word', word);
      else push('mark', offset + 1);
    }
  }
  return tokens;
}

function endOf(pattern: RegExp, text: string, offset: number): number | undefined {
  pattern.lastIndex = offset;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

/** @returns the offset after the string that begins there, with all that is interpolated in it */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length) {
    if (text[at] === '\\') at += 2;
    else if (text[at] === '"') return at + 1;
    else if (text.startsWith('$${', at)) at += 3;
    else if (text.startsWith('${', at)) at = endOfInterpolation(text, at);
    else at += 1;
  }
  return text.length;
}

function endOfIndentedString(text: string, start: number): number {
  let at = start + 2;
  while (at < text.length) {
    // ''' and ''$ and ''\x are escapes within the string.
    if (text.startsWith("'''", at) || text.startsWith("''$", at)) at += 3;
    else if (text.startsWith("''\\", at)) at += 4;
    else if (text.startsWith("''", at)) return at + 2;
    else if (text.startsWith('$${', at)) at += 3;
    else if (text.startsWith('${', at)) at = endOfInterpolation(text, at);
    else at += 1;
  }
  return text.length;
}

/** @returns the offset after the `}` that ends the `${` there; strings and comments within are skipped */
function endOfInterpolation(text: string, start: number): number {
  let at = start + 2;
  let depth = 1;
  while (at < text.length) {
    const blank = endOf(patterns.blank, text, at);
    if (blank !== undefined) at = blank;
    else if (text[at] === '"') at = endOfString(text, at);
    else if (text.startsWith("''", at)) at = endOfIndentedString(text, at);
    else {
      if (text[at] === '{') depth += 1;
      if (text[at] === '}') depth -= 1;
      at += 1;
      if (depth === 0) return at;
    }
  }
  return text.length;
}
