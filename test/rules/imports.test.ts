/** Imports go down only: the layers of docs/architecture.md, checked for every file under src/. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const source = join(root, 'src');

/** What each folder may import besides itself and core. */
const allowed: Record<string, readonly string[]> = {
  core: [],
  nix: [],
  config: ['nix', 'sources'],
  sources: ['nix'],
  builder: ['nix'],
  libraries: ['nix', 'sources', 'builder'],
  oci: ['nix'],
  engine: ['oci'],
  materialise: ['nix', 'oci', 'engine'],
  registry: ['nix', 'oci'],
  environment: ['config', 'sources', 'nix', 'builder', 'libraries', 'materialise', 'engine', 'oci'],
  daemon: [
    'environment',
    'config',
    'sources',
    'nix',
    'builder',
    'libraries',
    'materialise',
    'engine',
    'registry',
    'oci',
  ],
  client: ['builder', 'daemon', 'environment', 'engine', 'sources'],
  cli: ['builder', 'client', 'daemon', 'environment', 'engine', 'sources', 'config'],
};

/** Vendors whose types stay behind a port: package name to the only folders that may import it. */
const behindPorts: Record<string, readonly string[]> = {
  dockerode: ['engine/docker'],
  hono: ['daemon', 'registry'],
  '@hono/node-server': ['daemon', 'registry'],
  commander: ['cli'],
  fzstd: ['oci'],
  libsql: ['nix', 'environment', 'registry', 'builder'],
  'prom-client': ['daemon'],
  s3mini: ['oci/blobs'],
  '@peculiar/x509': ['libraries'],
  '@cyclonedx/cyclonedx-library': ['oci/attest'],
  'packageurl-js': ['oci/attest'],
  semver: ['sources/versions'],
  '@noble/ciphers': ['oci/attest'],
};

interface Import {
  readonly file: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function sourceFiles(): string[] {
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => join(source, file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const pattern = /(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|import\(\s*'([^']+)'\s*\)/g;
  return [...text.matchAll(pattern)].map((match) => ({
    file: relative(source, file),
    specifier: match[2] ?? match[3] ?? '',
    typeOnly: match[1] !== undefined,
  }));
}

function folderOf(path: string): string {
  return path.split('/')[0] ?? '';
}

const imports = sourceFiles().flatMap(importsOf);

describe('imports', () => {
  test('go down only', () => {
    const wrong = imports
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter(({ file, specifier }) => {
        const from = folderOf(file);
        const to = folderOf(relative(source, resolve(source, dirname(file), specifier)));
        return from !== to && to !== 'core' && !(allowed[from] ?? []).includes(to);
      });
    expect(wrong).toEqual([]);
  });

  test('of the command and the client take only types from below the daemon, so that a start stays light', () => {
    const wrong = imports.filter(
      ({ file, specifier, typeOnly }) =>
        ['client', 'cli'].includes(folderOf(file)) && /\/(environment|sources|nix)\//.test(specifier) && !typeOnly,
    );
    expect(wrong).toEqual([]);
  });

  test('of a vendor stay behind its port', () => {
    const wrong = imports.filter(({ file, specifier }) =>
      Object.entries(behindPorts).some(
        ([vendor, folders]) =>
          (specifier === vendor || specifier.startsWith(`${vendor}/`)) &&
          !folders.some((folder) => file.startsWith(`${folder}/`)),
      ),
    );
    expect(wrong).toEqual([]);
  });

  test('form no folder that the rule does not know', () => {
    const folders = new Set(sourceFiles().map((file) => folderOf(relative(source, file))));
    expect([...folders].filter((folder) => !(folder in allowed))).toEqual([]);
  });
});

test('only daemon/settings.ts reads the process environment', () => {
  const readers = sourceFiles()
    .filter((file) => /process\.env\b/.test(readFileSync(file, 'utf8')))
    .map((file) => relative(source, file));
  // core/exec.ts hands the whole environment on to a program when the caller names none, and cli/main.ts to what reads
  // the settings, which is loaded only when a command needs it.
  const handOn = ['daemon/settings.ts', 'core/exec.ts', 'cli/main.ts'];
  expect(readers.filter((file) => !handOn.includes(file))).toEqual([]);
});
