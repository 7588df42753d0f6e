/** The part of nixpkgs' lib that the source has: each function gives what nixpkgs' does. */
import { expect, test } from 'vitest';
import { join } from 'node:path';
import { debianNix } from '../support/debian-root.ts';

const folder = join(import.meta.dirname, '../../nix/debian/lib');

/** Each expression with the value that nixpkgs' lib gives for it. */
const cases: readonly [string, unknown][] = [
  ['optional true 1 ++ optional false 2 ++ optionals true [ 3 ] ++ optionals false [ 4 ]', [1, 3]],
  ['optionalString true "a" + optionalString false "b"', 'a'],
  ['optionalAttrs true { a = 1; } // optionalAttrs false { b = 2; }', { a: 1 }],
  ['concatStringsSep "," [ "a" "b" ] + concatMapStringsSep "-" toString [ 1 2 ]', 'a,b1-2'],
  ['concatMapStrings (x: x + ";") [ "a" "b" ]', 'a;b;'],
  ['splitString "." "a.b..c"', ['a', 'b', '', 'c']],
  [
    '[ (hasPrefix "ab" "abc") (hasSuffix "bc" "abc") (hasInfix "b" "abc") (hasInfix "." "abc") (hasSuffix "abcd" "d") ]',
    [true, true, true, false, false],
  ],
  ['[ (removePrefix "a" "abc") (removeSuffix "c" "abc") (removePrefix "x" "abc") ]', ['bc', 'ab', 'abc']],
  ['[ (toUpper "abzÄ1") (toLower "ABZ") ]', ['ABZÄ1', 'abz']],
  ['trim "  a b\\n "', 'a b'],
  ['escapeShellArg "it\'s"', "'it'\\''s'"],
  ['escapeShellArgs [ "a" "b c" ]', "'a' 'b c'"],
  ['stringToCharacters "abc"', ['a', 'b', 'c']],
  ['toInt "42"', 42],
  ['fixedWidthString 5 "0" "42"', '00042'],
  ['makeBinPath [ "/a" "/b" ] + "|" + makeLibraryPath [ "/a" ]', '/a/bin:/b/bin|/a/lib'],
  ['genAttrs [ "a" "b" ] (n: n + "1")', { a: 'a1', b: 'b1' }],
  ['mapAttrsToList (n: v: n + v) { a = "1"; b = "2"; }', ['a1', 'b2']],
  ['mapAttrs\' (n: v: nameValuePair (n + "x") v) { a = 1; }', { ax: 1 }],
  ['filterAttrs (n: v: v > 1) { a = 1; b = 2; }', { b: 2 }],
  ['concatMapAttrs (n: v: { ${n + "1"} = v; }) { a = 1; b = 2; }', { a1: 1, b1: 2 }],
  ['recursiveUpdate { a = { b = 1; c = 2; }; } { a.b = 3; d = 4; }', { a: { b: 3, c: 2 }, d: 4 }],
  ['attrByPath [ "a" "b" ] 0 { a.b = 1; } + attrByPath [ "a" "x" ] 5 { a.b = 1; }', 6],
  [
    '[ (hasAttrByPath [ "a" "b" ] { a.b = null; }) (hasAttrByPath [ "a" "c" ] { a.b = 1; }) (hasAttrByPath [ "a" "b" "c" ] { a.b = 1; }) ]',
    [true, false, false],
  ],
  ['getAttrFromPath [ "a" "b" ] { a.b = 7; }', 7],
  ['attrsToList { a = 1; }', [{ name: 'a', value: 1 }]],
  ['foldr (a: b: a + b) "" [ "a" "b" "c" ] + foldl (a: b: b + a) "" [ "a" "b" ]', 'abcba'],
  ['flatten [ 1 [ 2 [ 3 ] ] ]', [1, 2, 3]],
  ['unique [ 1 2 1 3 2 ]', [1, 2, 3]],
  ['range 2 4 ++ range 4 2', [2, 3, 4]],
  [
    '[ (take 2 [ 1 2 3 ]) (drop 2 [ 1 2 3 ]) (drop 5 [ 1 ]) (init [ 1 2 ]) [ (last [ 1 2 ]) ] (reverseList [ 1 2 ]) ]',
    [[1, 2], [3], [], [1], [2], [2, 1]],
  ],
  ['imap1 (i: v: i * v) [ 5 6 ] ++ imap0 (i: v: i * v) [ 5 6 ]', [5, 12, 0, 6]],
  ['subtractLists [ 1 ] [ 1 2 ] ++ intersectLists [ 1 ] [ 1 2 ] ++ remove 1 [ 1 3 ]', [2, 1, 3]],
  ['findFirst (x: x > 1) 0 [ 1 2 3 ]', 2],
  ['zipLists [ 1 2 ] [ "a" ]', [{ fst: 1, snd: 'a' }]],
  ['sortOn (x: 0 - x) [ 1 3 2 ]', [3, 2, 1]],
  [
    '[ (versions.major "1.2.3") (versions.minor "1.2.3") (versions.patch "1.2.3") (versions.majorMinor "1.2.3") ]',
    ['1', '2', '3', '1.2'],
  ],
  [
    '[ (versionOlder "1.9" "1.10") (versionAtLeast "1.10" "1.9") (versionAtLeast "1" "1") (getVersion "a-1.2") ]',
    [true, true, true, '1.2'],
  ],
  ['pipe 1 [ (x: x + 1) (x: x * 10) ]', 20],
  ['[ (boolToString true) (toString (min 1 2)) (toString (mod 7 3)) ]', ['true', '1', '1']],
  ['fix (self: { a = 1; b = self.a + 1; })', { a: 1, b: 2 }],
  ['getExe { name = "x-1"; outPath = "/p"; meta.mainProgram = "y"; }', '/p/bin/y'],
  ['getExe\' { name = "x"; outPath = "/p"; } "z"', '/p/bin/z'],
  ['isDerivation { type = "derivation"; }', true],
  ['[ (lists.length [ 1 ]) (strings.stringLength "ab") (builtins.length (attrsets.attrNames { a = 1; })) ]', [1, 2, 1]],
];

test('each function gives the value that nixpkgs gives', async () => {
  const list = cases.map(([expression]) => `(${expression})`).join(' ');
  const output = await debianNix.require('nix-instantiate', [
    '--eval',
    '--strict',
    '--json',
    '-E',
    `with import ${folder}; [ ${list} ]`,
  ]);
  const values = JSON.parse(output) as unknown[];
  expect(cases.map(([expression], index) => [expression, values[index]])).toEqual(cases);
});
