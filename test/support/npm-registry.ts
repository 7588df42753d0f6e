/** A registry of npm packages on loopback, which may demand a token, and be away. It keeps count of what it gives out. */
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface NpmRegistry {
  readonly url: string;
  /** Paths of tarballs that were given out. */
  readonly given: string[];
  /** What requests must bring to be answered. */
  token: string | undefined;
  /** Adds a package of version 1.0.0. */
  add(name: string, files: Readonly<Record<string, string>>, manifest?: object): void;
  /** @returns the files of a project that depends on packages of this registry */
  project(names: readonly string[]): { 'package.json': string; 'package-lock.json': string };
  /** From then on nothing answers there. */
  close(): Promise<void>;
}

export async function startNpmRegistry(): Promise<NpmRegistry> {
  const packages = new Map<string, { tarball: Buffer; manifest: Record<string, unknown> }>();
  const given: string[] = [];
  const server = createServer((request, response) => {
    const name = /^\/([\w-]+)\/-\//.exec(request.url ?? '')?.[1] ?? '';
    const found = packages.get(name);
    const allowed = registry.token === undefined || request.headers.authorization === `Bearer ${registry.token}`;
    if (!allowed || !found) {
      response.writeHead(allowed ? 404 : 401).end();
      return;
    }
    given.push(request.url ?? '');
    response.end(found.tarball);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const registry: NpmRegistry = {
    url,
    given,
    token: undefined,
    add(name, files, more = {}) {
      const folder = mkdtempSync(join(tmpdir(), 'berth-package-'));
      const manifest = { name, version: '1.0.0', ...more };
      for (const [file, text] of Object.entries({ 'package.json': JSON.stringify(manifest), ...files })) {
        const target = join(folder, 'package', file);
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(target, text);
      }
      execFileSync('tar', ['-czf', join(folder, 'it.tgz'), '-C', folder, 'package']);
      packages.set(name, { tarball: readFileSync(join(folder, 'it.tgz')), manifest });
      rmSync(folder, { recursive: true });
    },
    project(names) {
      const dependencies = Object.fromEntries(names.map((name) => [name, '1.0.0']));
      const own = { name: 'app', version: '1.0.0', dependencies };
      const entries = names.map((name): [string, object] => {
        const { tarball, manifest } = packages.get(name) ?? { tarball: Buffer.alloc(0), manifest: {} };
        const scripts = Object.keys(manifest['scripts'] ?? {});
        const hasScript = manifest['gypfile'] === true || scripts.some((it) => /^(pre|post)?install$/.test(it));
        const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
        const resolved = `${url}/${name}/-/${name}-1.0.0.tgz`;
        return [
          `node_modules/${name}`,
          { version: '1.0.0', resolved, integrity, ...(hasScript ? { hasInstallScript: true } : {}) },
        ];
      });
      const lock = { ...own, lockfileVersion: 3, packages: { '': own, ...Object.fromEntries(entries) } };
      return { 'package.json': JSON.stringify(own), 'package-lock.json': JSON.stringify(lock) };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return registry;
}
