/** The path without evaluation gives what the evaluator gives: on every example, and on 500 configs of real package names. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPlainConfig } from '../../src/config/plain-config.ts';
import { hostSystem } from '../../src/nix/evaluate.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import { physicalPath } from '../../src/nix/store.ts';
import { createDebianPlain, type OpenedIndex } from '../../src/sources/debian/plain/plain.ts';
import type { PreparedSource } from '../../src/sources/source.ts';
import { debianPrepared, debianStore, nixString } from '../support/debian-root.ts';
import { repository } from '../support/nixpkgs-fixture.ts';
import { testHome } from '../support/test-home.ts';

const settings = { system: hostSystem(), allowUnfree: false };
let home: string;
let nix: Nix;
let source: PreparedSource;
let index: OpenedIndex;

beforeAll(async () => {
  home = mkdtempSync('/tmp/berth-plain-');
  source = await debianPrepared('bookworm');
  nix = createNix({
    store: debianStore,
    nixFolder: join(repository, 'nix'),
    home: join(testHome, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
  });
  const opened = await createDebianPlain({ nix, folder: home }).open({ source, ...settings });
  if (!opened) throw new Error('Berth does not know the derivations that its Nix code makes.');
  index = opened;
}, 120_000);
afterAll(async () => {
  await nix.close();
  rmSync(home, { recursive: true, force: true });
});

/** What a text means without the evaluator; null where that must say it. */
function worksOut(text: string) {
  const config = readPlainConfig(text);
  const packages = config?.packages.map(({ name }) => name);
  return (config && packages && index.compose({ ...config, packages })?.evaluated) ?? null;
}

test('500 configs of real packages mean what the evaluator says', async () => {
  const random = seededRandom(8);
  const names = readFileSync(join(physicalPath(debianStore, source.storePaths[0]!), 'names.json'), 'utf8')
    .split('\n')
    .flatMap((line) => /"([^"]+)":\d+,?$/.exec(line)?.[1] ?? []);
  const configs = Array.from({ length: 500 }, (_, number) => generateConfig(number, names, random));
  const { evaluated } = await nix.evaluateTogether({
    ...settings,
    source,
    configs,
    rules: false,
    write: false,
    limits: { timeMs: 300_000, memoryBytes: 16 * 1024 ** 3, outputBytes: 64 * 1024 ** 2 },
  });
  // A fault in a generated config (packages that conflict, that are not free) is the evaluator's to tell.
  const sound = evaluated.filter((it) => it !== null);
  expect(sound.length).toBeGreaterThan(300);
  for (const [number, text] of configs.entries()) expect(worksOut(text), text).toEqual(evaluated[number]);
}, 300_000);

test('every example is either left to the evaluator or means what it says', async () => {
  const folder = join(repository, 'examples');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.nix'));
  const parsed: string[] = [];
  for (const name of files.sort()) {
    const file = join(folder, name);
    const found = worksOut(readFileSync(file, 'utf8'));
    if (!found) continue;
    const config = { file, directory: join(file, '..'), shape: 'nix' } as const;
    const evaluation = await nix.evaluate({ config, sources: { pkgs: source }, defaultSource: 'pkgs', ...settings });
    if (!evaluation.ok) throw evaluation.error;
    expect(found, name).toEqual(evaluation.result);
    parsed.push(name);
  }
  // Others may be added; these must stay.
  expect(parsed).toEqual(
    expect.arrayContaining([
      'demo/node/config.nix',
      'demo/python/config.nix',
      'demo/search/config.nix',
      'hello/config.nix',
      'node/config.nix',
      'python-web/config.nix',
      'replit/replit.nix',
    ]),
  );
}, 120_000);

/** Numbers from 0 to 1, the same in every run (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

const common = [
  ...['git', 'python3', 'nodejs', 'gcc', 'jq', 'curl', 'sqlite', 'openssl', 'go', 'jdk17', 'php', 'redis', 'yarn'],
  ...['postgresql_15', 'ffmpeg', 'vim', 'tmux', 'locales', 'g++', 'libstdc++6', 'ripgrep', 'rustc', 'ruby', 'perl'],
  ...['systemd', 'dpkg', 'openjdk-17-jre-headless', 'glibcLocales', 'python', 'man', 'zlib', 'adduser', 'less'],
];
const texts = ['', 'x', 'two words', '"quoted"', 'back\\slash', '$HOME ${A}', 'tab\tnew\nline', 'ü – 漢字', "it''s"];

function generateConfig(number: number, names: readonly string[], random: () => number): string {
  const below = (limit: number) => Math.floor(random() * limit);
  const one = <T>(of: readonly T[]): T => of[below(of.length)]!;
  // Most with few packages, up to 30.
  const count = 1 + below(number % 4 === 0 ? 30 : 8);
  const chosen = new Set<string>();
  while (chosen.size < count) chosen.add(random() < 0.5 ? one(common) : one(names));
  const attribute = (name: string) => (/^[A-Za-z_][\w'-]*$/.test(name) && random() < 0.8 ? name : nixString(name));
  const isWord = (name: string) => /^[A-Za-z_][\w'-]*$/.test(name);
  const replit = random() < 0.2;
  const within = random() < 0.3;
  const argument = random() < 0.2 ? 'debian' : 'pkgs';
  const elements = [...chosen].map((name) =>
    within && isWord(name) && random() < 0.7 ? name : `${argument}.${attribute(name)}`,
  );
  const between = one([' ', '\n    ', ' # why\n    ', ' /* so */ ']);
  const lines = [
    `${replit ? 'deps' : 'packages'} = ${within ? `with ${argument}; ` : ''}[ ${elements.join(between)} ];`,
  ];
  if (random() < 0.5) {
    const variables = ['A', 'B_2', '_c', 'PATH', 'LONG_NAME'].filter(() => random() < 0.5);
    const value = () => one([nixString(one(texts)), '0', '65536', 'true', 'false']);
    lines.push(
      random() < 0.5
        ? `env = { ${variables.map((name) => `${name} = ${value()};`).join(' ')} };`
        : variables.map((name) => `env.${name} = ${value()};`).join(' '),
    );
  }
  if (!replit && random() < 0.4) {
    const hook = ['echo "$A"', '  if true; then', '', "    it's $B", 'ü']
      .slice(0, 1 + below(5))
      .join(`\n${' '.repeat(below(4))}`);
    lines.push(`shellHook = ${random() < 0.5 ? nixString(one(texts)) : `''\n    ${hook}\n  ''`};`);
  }
  if (!replit && random() < 0.3) lines.push(`command = [ "sh" ${nixString(one(texts))} ];`);
  if (!replit && random() < 0.3) lines.push(`ports = [ ${1 + below(65535)} 80 ];`);
  return `{ ${argument}, ... }:\n{\n  ${lines.reverse().join('\n  ')}\n}\n`;
}
