/** Reads go.sum (The Go Modules Reference, "go.sum files") and what go.mod requires. */
import { BerthError } from '../../core/errors.ts';
import { parseIntegrity, type Integrity } from '../integrity.ts';

export interface GoModule {
  readonly path: string;
  readonly version: string;
  /** Over the module's files. */
  readonly zip?: Integrity;
  /** Over its go.mod. */
  readonly mod?: Integrity;
}

/** @throws BerthError LIBRARY_LOCK_INVALID, LIBRARY_LOCK_UNHASHED */
export function parseGoSum(text: string, file: string): GoModule[] {
  const modules = new Map<string, GoModule>();
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const [path, versionAndFile, hash, ...rest] = line.trim().split(/\s+/);
    if (path === undefined || versionAndFile === undefined || rest.length > 0) {
      throw new BerthError('LIBRARY_LOCK_INVALID', `${file}:${at + 1} is not of the form MODULE VERSION HASH.`);
    }
    const integrity = hash?.startsWith('h1:') ? parseIntegrity(hash.replace(':', '-')) : undefined;
    if (!integrity) {
      throw new BerthError('LIBRARY_LOCK_UNHASHED', `${file}:${at + 1} has no h1 hash for ${path}.`, {
        hint: 'Remove go.sum and run `go mod tidy`.',
      });
    }
    const [version = ''] = versionAndFile.split('/go.mod');
    const known = modules.get(`${path}@${version}`) ?? { path, version };
    const what = versionAndFile.endsWith('/go.mod') ? { mod: integrity } : { zip: integrity };
    modules.set(`${path}@${version}`, { ...known, ...what });
  }
  return [...modules.values()];
}

/**
 * Checks that go.sum knows what go.mod requires: what is missing would be downloaded unchecked.
 * @throws BerthError LIBRARY_LOCK_UNHASHED
 */
export function requireHashes(goMod: string, modules: readonly GoModule[], file: string): void {
  const replaced = new Set(
    statements(goMod, 'replace').map((statement) => statement.split('=>')[0]?.trim().split(/\s+/)[0]),
  );
  const known = new Set(modules.map(({ path, version }) => `${path}@${version}`));
  for (const statement of statements(goMod, 'require')) {
    const [path = '', version = ''] = statement.split(/\s+/);
    if (replaced.has(path) || known.has(`${path}@${version}`)) continue;
    throw new BerthError(
      'LIBRARY_LOCK_UNHASHED',
      `${file} has no hash for ${path} ${version}, which go.mod requires.`,
      {
        hint: 'Run `go mod tidy`.',
      },
    );
  }
}

/** @returns what follows the keyword, of single lines and of blocks in brackets, without comments */
function statements(goMod: string, keyword: string): string[] {
  const text = goMod.replace(/\/\/.*$/gm, '');
  const blocks = [...text.matchAll(new RegExp(`^${keyword}\\s*\\(([^)]*)\\)`, 'gm'))].flatMap(([, body = '']) =>
    body.split('\n'),
  );
  const lines = [...text.matchAll(new RegExp(`^${keyword}\\s+([^(\\s].*)$`, 'gm'))].map(([, body = '']) => body);
  return [...blocks, ...lines].map((line) => line.trim()).filter((line) => line !== '');
}

/** Module paths and versions in URLs: a capital letter is `!` and the small one (Go Modules Reference, "GOPROXY protocol"). */
export function escaped(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);
}
