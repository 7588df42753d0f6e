/** The nixpkgs-shaped tree of test/fixtures/nixpkgs, with its two programs, as a folder; and a Nix with a store of its own. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { EvaluateRequest } from '../../src/nix/evaluate.ts';
import type { NixOptions } from '../../src/nix/nix.ts';
import { createNix, type Nix } from '../../src/nix/nix.ts';
import type { PreparedSource } from '../../src/sources/source.ts';
import { testHome } from './test-home.ts';

export const repository = join(import.meta.dirname, '../..');

/** @returns a static bash from Debian's package, downloaded once */
function staticBash(): string {
  const folder = join(testHome, 'bash-static');
  const program = join(folder, 'bin/bash-static');
  if (existsSync(program)) return program;
  mkdirSync(testHome, { recursive: true });
  const download = mkdtempSync(join(testHome, 'download-'));
  try {
    execFileSync('apt-get', ['download', '-o', 'APT::Sandbox::User=root', 'bash-static'], {
      cwd: download,
      stdio: 'pipe',
    });
    const [file = ''] = readdirSync(download);
    execFileSync('dpkg-deb', ['-x', file, 'root'], { cwd: download });
    renameSync(join(download, 'root'), folder);
  } finally {
    rmSync(download, { recursive: true, force: true });
  }
  return program;
}

/** Copies the fixture to a folder, which must not be there yet. */
export function makeNixpkgs(folder: string): string {
  cpSync(join(repository, 'test/fixtures/nixpkgs'), folder, { recursive: true });
  mkdirSync(join(folder, 'bin'), { recursive: true });
  cpSync(staticBash(), join(folder, 'bin/bash'), { dereference: true });
  cpSync(execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim(), join(folder, 'bin/busybox'), {
    dereference: true,
  });
  for (const name of ['bash', 'busybox']) chmodSync(join(folder, 'bin', name), 0o755);
  return folder;
}

export interface NixFixture {
  readonly nix: Nix;
  /** A temporary folder; all of the fixture lies in it. */
  readonly root: string;
  /** The fixture tree in the store, as a prepared source. */
  readonly source: PreparedSource;
  /** Makes a project folder of these files. @returns its path */
  project(files: Readonly<Record<string, string>>): string;
  /** @returns the request to evaluate a project's config.nix, or its flake.nix */
  request(directory: string, more?: Partial<EvaluateRequest>): EvaluateRequest;
  close(): Promise<void>;
}

/** Makes a Nix with an empty store in a temporary folder, and the fixture in it. */
export async function makeNixFixture(overrides: Partial<NixOptions> = {}): Promise<NixFixture> {
  const root = mkdtempSync(join(tmpdir(), 'berth-nix-'));
  const nix = createNix({
    store: { kind: 'managed', root: join(root, 'store') },
    nixFolder: join(repository, 'nix'),
    home: join(root, 'nix'),
    settings: { substituters: [], trustedPublicKeys: [] },
    environment: { PATH: process.env['PATH'] ?? '' },
    ...overrides,
  });
  const path = await nix.addToStore(makeNixpkgs(join(root, 'nixpkgs')), 'source');
  const source: PreparedSource = { kind: 'nixpkgs', nix: { path }, storePaths: [path] };
  let projects = 0;
  return {
    nix,
    root,
    source,
    project(files) {
      projects += 1;
      const directory = join(root, `project-${projects}`);
      writeFiles(directory, files);
      return directory;
    },
    request(directory, more = {}) {
      const name = existsSync(join(directory, 'flake.nix')) ? 'flake.nix' : 'config.nix';
      return {
        config: { file: join(directory, name), directory, shape: name === 'flake.nix' ? 'flake' : 'nix' },
        sources: { pkgs: source },
        defaultSource: 'pkgs',
        ...more,
      };
    },
    async close() {
      await nix.close();
      removeStore(root);
    },
  };
}

/** Writes files, with the folders above them. */
export function writeFiles(directory: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
}

/** Removes a folder that may hold a store, whose folders are read-only. */
export function removeStore(folder: string): void {
  execFileSync('chmod', ['-R', 'u+w', folder]);
  rmSync(folder, { recursive: true, force: true });
}
