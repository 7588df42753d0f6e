/** Every example, run as its user would run it. An example that is not in the table fails the last test. */
import { cpSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFlow, runIn, type Flow } from '../support/flow.ts';
import { testHome } from '../support/test-home.ts';
import { until } from '../support/until.ts';

const examples = join(import.meta.dirname, '../../examples');

interface Example {
  /** Run in the berth, again until it succeeds: a server needs a moment. */
  readonly argv: readonly string[];
  readonly prints: RegExp;
  /** Where its port is published here, since other programs of the machine may have the usual one. */
  readonly port?: { readonly container: number; readonly answers: RegExp };
}

const table: Readonly<Record<string, Example>> = {
  'demo/node': { argv: ['node', 'main.js'], prints: /^hello from node v\d+/ },
  'demo/python': { argv: ['python3', 'main.py'], prints: /^hello from python 3\.\d+.* 42$/m },
  'demo/search': { argv: ['sh', 'main.sh'], prints: /git version .* found: \.\/hay\.txt/ },
  flake: { argv: ['perl', '-e', 'print $ENV{GREETING}'], prints: /^from a flake$/ },
  hello: {
    argv: ['sh', '-c', 'git --version; rg --version; jq --version'],
    prints: /git version[\s\S]*ripgrep[\s\S]*jq-/,
  },
  mixed: { argv: ['sh', '-c', 'env; sqlite3 :memory: "select 40+2"; python3 -V'], prints: /42\nPython 3/ },
  node: { argv: ['node', '-v'], prints: /^v\d+/, port: { container: 3000, answers: /^GET \/\n$/ } },
  postgres: { argv: ['psql', '-Atc', 'select 6 * 7'], prints: /^42$/m },
  'python-web': { argv: ['sqlite3', '--version'], prints: /^3\./, port: { container: 8080, answers: /^visit \d+\n$/ } },
  replit: { argv: ['node', 'index.js'], prints: /^Node \d+.* would listen on 3000\.$/m },
  shell: { argv: ['make', '-s'], prints: /./ },
  versions: {
    argv: ['node', 'versions.js'],
    prints: /^node v18\..*\nnode@20 v20\..*\npython3@3\.13 Python 3\.13\./,
  },
};

/** Their libraries come from registries, which not every machine reaches: run by test/libraries. */
const withLibraries = ['cargo', 'go', 'npm', 'python'];

let flow: Flow;
beforeAll(async () => {
  // The mirror's sid may be older than its Release file allows.
  flow = await createFlow({ variables: { BERTH_DEBIAN_CHECK_VALID_UNTIL: 'false' } });
  // What was downloaded of the suites for other tests.
  symlinkSync(join(testHome, 'debian'), join(flow.home, 'debian'));
});
afterAll(() => flow.close());

describe('example', () => {
  test.each(Object.entries(table))('%s', async (name, { argv, prints, port }) => {
    const project = await flow.project({});
    cpSync(join(examples, name), project, { recursive: true });
    const host = 18_500 + Object.keys(table).indexOf(name);
    const ports = port ? [{ host, container: port.container }] : [];
    const result = await flow.service.up({ path: project, ports }, flow.context(name));
    const { agentSocket } = await flow.service.get(result.name);
    let last = { code: null as number | null, stdout: '', stderr: '' };
    await until(async () => (last = await runIn(agentSocket, argv)).code === 0, 30_000).catch(() => undefined);
    expect(last.stderr).not.toMatch(/not found/);
    expect(last.stdout).toMatch(prints);
    if (port) {
      let body = '';
      await until(async () => {
        body = await fetch(`http://127.0.0.1:${host}/`).then(
          (answer) => answer.text(),
          () => '',
        );
        return body !== '';
      }, 20_000);
      expect(body).toMatch(port.answers);
    }
    await flow.service.remove(result.id);
  });
});

test('no example is left out', () => {
  const configs = readdirSync(examples, { recursive: true, encoding: 'utf8' })
    .filter((file) => /(^|\/)(config|shell|replit|flake)\.nix$/.test(file))
    .map((file) => file.replace(/\/[^/]+$/, ''));
  expect(configs.sort()).toEqual([...Object.keys(table), ...withLibraries].sort());
});
