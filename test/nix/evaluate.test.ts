import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evaluation, EvaluateRequest } from '../../src/nix/evaluate.ts';
import { physicalPath } from '../../src/nix/store.ts';
import { makeNixFixture, type NixFixture } from '../support/nixpkgs-fixture.ts';

let fixture: NixFixture;
let count = 0;

beforeAll(async () => {
  fixture = await makeNixFixture();
});
afterAll(() => fixture.close());

function project(files: Record<string, string>): string {
  const directory = join(fixture.root, `project-${String((count += 1))}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}

function request(directory: string, more: Partial<EvaluateRequest> = {}): EvaluateRequest {
  return {
    config: { file: join(directory, 'config.nix'), directory, shape: 'nix' },
    sources: { nixpkgs: fixture.source },
    defaultSource: 'nixpkgs',
    ...more,
  };
}

async function evaluateText(text: string, more: Partial<EvaluateRequest> = {}): Promise<Evaluation> {
  return fixture.nix.evaluate(request(project({ 'config.nix': text }), more));
}

function good(evaluation: Evaluation) {
  if (!evaluation.ok) throw evaluation.error;
  return evaluation.result;
}

async function variablesOf(drvPath: string): Promise<Record<string, string>> {
  const { paths } = await fixture.nix.realise([drvPath], { onLog: ({ line }) => console.log(line) });
  const text = readFileSync(join(physicalPath(fixture.nix.store, paths[0]!), 'variables'), 'utf8');
  return Object.fromEntries(
    text
      .split('\0')
      .filter((entry) => entry !== '')
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}

describe("Berth's own shape", () => {
  it('becomes an environment with its packages and variables', async () => {
    const result = good(
      await evaluateText(`{ pkgs, ... }: {
        packages = [ pkgs.hello pkgs.library ];
        env = { GREETING = "hi \${pkgs.cowsay}"; NUMBER = 3; ON = true; };
        shellHook = "echo \${pkgs.cowsay}/bin";
        command = [ "hello" "-v" ];
        ports = [ 8080 ];
      }`),
    );
    expect(result).toMatchObject({
      packages: [
        { name: 'hello', version: '2.12', source: 'nixpkgs' },
        { name: 'library', version: '0.3', source: 'nixpkgs' },
      ],
      command: ['hello', '-v'],
      ports: [8080],
      libraries: {},
    });
    const variables = await variablesOf(result.drvPath);
    expect(variables['PATH']).toMatch(/^\/nix\/store\/[^:]*-hello-2.12\/bin:.*-library-0.3\/bin:.*busybox/);
    expect(variables).toMatchObject({ NUMBER: '3', ON: '1', IN_NIX_SHELL: 'impure' });
    expect(variables['LIBRARY_HOME']).toMatch(/-library-0.3$/);
    expect(variables['TEST_MODULES']).toMatch(/-library-0.3\/lib\/test-modules$/);
    expect(Object.keys(variables)).not.toContain('out');
  });
});
