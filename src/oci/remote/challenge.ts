/** Reads `WWW-Authenticate` (RFC 9110, 11.6.1): which scheme a registry wants, and where its tokens are. */

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(`\\s*,?\\s*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, 'y');
const scheme = new RegExp(`[\\s,]*(${token})(?=[\\s,]|$)`, 'y');

/** @returns the challenges in order; what cannot be read ends the list */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let position = 0;
  for (;;) {
    scheme.lastIndex = position;
    const name = scheme.exec(header)?.[1];
    if (name === undefined) return challenges;
    position = scheme.lastIndex;
    const parameters: Record<string, string> = {};
    for (;;) {
      parameter.lastIndex = position;
      const match = parameter.exec(header);
      if (!match) break;
      const [, key = '', quoted, plain = ''] = match;
      parameters[key.toLowerCase()] = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
      position = parameter.lastIndex;
    }
    challenges.push({ scheme: name.toLowerCase(), parameters });
  }
}
