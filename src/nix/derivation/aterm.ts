/** The text of a .drv file: https://nix.dev/manual/nix/stable/protocols/derivation-aterm */
import { BerthError } from '../../core/errors.ts';

export interface DerivationOutput {
  readonly name: string;
  readonly path: string;
  /** Empty unless the output is fixed: `sha256`, with its hash in base 16. */
  readonly algorithm: string;
  readonly hash: string;
}

/** A derivation as its file says it. Lists are in the file's order: sorted, but for the arguments. */
export interface Derivation {
  readonly outputs: readonly DerivationOutput[];
  /** Paths of .drv files with the names of the outputs that are used. */
  readonly inputDrvs: readonly (readonly [path: string, outputs: readonly string[]])[];
  readonly inputSrcs: readonly string[];
  readonly platform: string;
  readonly builder: string;
  readonly args: readonly string[];
  readonly env: readonly (readonly [name: string, value: string])[];
}

export function writeAterm(derivation: Derivation): string {
  const { outputs, inputDrvs, inputSrcs, platform, builder, args, env } = derivation;
  return [
    `Derive([${outputs.map((it) => `(${quote(it.name)},${quote(it.path)},${quote(it.algorithm)},${quote(it.hash)})`).join(',')}]`,
    // Paths and names of outputs have nothing to escape.
    `[${inputDrvs.map(([path, names]) => `("${path}",[${names.map((name) => `"${name}"`).join(',')}])`).join(',')}]`,
    `[${inputSrcs.map((path) => `"${path}"`).join(',')}]`,
    quote(platform),
    quote(builder),
    `[${args.map(quote).join(',')}]`,
    `[${env.map(([name, value]) => `(${quote(name)},${quote(value)})`).join(',')}])`,
  ].join(',');
}

/** @throws BerthError INTERNAL when the text is no derivation of that form */
export function parseAterm(text: string): Derivation {
  const read = reader(text);
  read.expect('Derive(');
  const outputs = read.list(() => {
    read.expect('(');
    const [name, path, algorithm, hash] = [read.string(), read.next(), read.next(), read.next()] as const;
    read.expect(')');
    return { name, path, algorithm, hash };
  });
  read.expect(',');
  const inputDrvs = read.list(() => {
    read.expect('(');
    const path = read.string();
    read.expect(',');
    const names = read.list(read.string);
    read.expect(')');
    return [path, names] as const;
  });
  read.expect(',');
  const inputSrcs = read.list(read.string);
  const [platform, builder] = [read.next(), read.next()] as const;
  read.expect(',');
  const args = read.list(read.string);
  read.expect(',');
  const env = read.list(() => {
    read.expect('(');
    const [name, value] = [read.string(), read.next()] as const;
    read.expect(')');
    return [name, value] as const;
  });
  read.expect(')');
  return { outputs, inputDrvs, inputSrcs, platform, builder, args, env };
}

const escapes: Readonly<Record<string, string>> = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const meanings: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

function quote(text: string): string {
  return `"${text.replace(/["\\\n\r\t]/g, (sign) => escapes[sign] ?? sign)}"`;
}

function reader(text: string) {
  let at = 0;
  const wrong = () => new BerthError('INTERNAL', `A derivation can't be read at its character ${at}.`);
  const expect = (sign: string) => {
    if (!text.startsWith(sign, at)) throw wrong();
    at += sign.length;
  };
  const string = () => {
    expect('"');
    let value = '';
    for (;;) {
      const stop = /["\\]/g;
      stop.lastIndex = at;
      const end = stop.exec(text)?.index;
      if (end === undefined) throw wrong();
      value += text.slice(at, end);
      at = end + 1;
      if (text[end] === '"') return value;
      const escaped = text[at] ?? '';
      value += meanings[escaped] ?? escaped;
      at += 1;
    }
  };
  return {
    expect,
    string,
    /** A string after a comma. */
    next() {
      expect(',');
      return string();
    },
    list<T>(element: () => T): T[] {
      expect('[');
      const found: T[] = [];
      if (text[at] === ']') at += 1;
      else {
        do found.push(element());
        while (text[at++] === ',');
        if (text[at - 1] !== ']') throw wrong();
      }
      return found;
    },
  };
}
