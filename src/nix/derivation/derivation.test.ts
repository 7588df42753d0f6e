import { expect, test } from 'vitest';
import { parseAterm, writeAterm } from './aterm.ts';
import { nameDerivation, nameFixedDerivation } from './derivation.ts';
import { textPath } from './store-hash.ts';

// What Nix 2.8 gives for the same derivations.
const script = '/nix/store/nny0h28sbyc7l2izqvrygkgq7d2by24h-script.sh';
const system = { platform: 'x86_64-linux', builder: '/bin/sh' };

function three() {
  const hash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const fixed = nameFixedDerivation({
    name: 'file.deb',
    platform: 'builtin',
    builder: 'builtin:fetchurl',
    args: [],
    hash,
    env: {
      name: 'file.deb',
      system: 'builtin',
      builder: 'builtin:fetchurl',
      url: 'http://example.org/a',
      outputHash: hash,
      outputHashAlgo: 'sha256',
      outputHashMode: 'flat',
      executable: '',
    },
  });
  const one = nameDerivation({
    ...system,
    name: 'one',
    args: [script],
    env: {
      name: 'one',
      system: system.platform,
      builder: '/bin/sh',
      text: 'a\tb "quoted" \\ ü\nend',
      fixed: fixed.outPath,
    },
    inputs: [fixed],
    inputSrcs: [script],
  });
  const two = nameDerivation({
    ...system,
    name: 'two',
    args: [],
    env: {
      name: 'two',
      system: system.platform,
      builder: '/bin/sh',
      inputs: `${one.outPath} ${fixed.outPath} ${script}`,
    },
    inputs: [one, fixed, one],
    inputSrcs: [script, script],
  });
  return { fixed, one, two };
}

test('a text, a fixed output and derivations have the names that Nix gives them', () => {
  const { fixed, one, two } = three();
  expect(textPath('script.sh', 'echo "hi"\n', [])).toBe(script);
  expect([fixed.outPath, fixed.drvPath]).toEqual([
    '/nix/store/7hq4aj7l4ph9f00aqxp47hfmaqqkjmz4-file.deb',
    '/nix/store/c5hdlr4rj1s5sksy7g28kghckpg4x4nr-file.deb.drv',
  ]);
  expect([one.outPath, one.drvPath]).toEqual([
    '/nix/store/ydzpwjjib749brnssd6pq1clbl20d3fa-one',
    '/nix/store/m6v9dfwjgryzrds4g035ksnbxxvmnw3i-one.drv',
  ]);
  expect([two.outPath, two.drvPath]).toEqual([
    '/nix/store/d6a6c0pk87yjxvj65j81pvk7c2ximk8y-two',
    '/nix/store/yc0hclf70xl097kkvvbpmz8q7ix0195n-two.drv',
  ]);
  expect(two.references).toEqual([one.drvPath, fixed.drvPath, script].sort());
});

test('a derivation that is read and written again is the same text', () => {
  const { one } = three();
  const read = parseAterm(one.text);
  expect(Object.fromEntries(read.env)['text']).toBe('a\tb "quoted" \\ ü\nend');
  expect(writeAterm(read)).toBe(one.text);
});

test.each(['', 'Derive([', 'Derive([],[],[],"a","b",[],[("k")])', 'Derive([],[],["x" "y"],"a","b",[],[])'])(
  'what is no derivation is refused: %s',
  (text) => {
    expect(() => parseAterm(text)).toThrow('derivation');
  },
);
