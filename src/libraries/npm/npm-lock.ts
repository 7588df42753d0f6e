/** Reads package-lock.json, versions 2 and 3 (npm's documentation, "package-lock.json"). */
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import { parseIntegrity } from '../integrity.ts';
import type { LibraryPackage, LockedArtifact } from '../library.ts';

const entrySchema = z.looseObject({
  name: z.string().optional(),
  version: z.string().optional(),
  resolved: z.string().optional(),
  integrity: z.string().optional(),
  link: z.boolean().optional(),
  inBundle: z.boolean().optional(),
  optional: z.boolean().optional(),
  hasInstallScript: z.boolean().optional(),
  os: z.union([z.string(), z.array(z.string())]).optional(),
  cpu: z.union([z.string(), z.array(z.string())]).optional(),
});
const lockSchema = z.looseObject({
  lockfileVersion: z.number(),
  packages: z.record(z.string(), entrySchema),
});

type Entry = z.infer<typeof entrySchema>;

export interface NpmLock {
  /** By the path of the package's folder; the project itself is ``. */
  readonly packages: Readonly<Record<string, Entry>>;
  /** The whole lock, as npm reads it. */
  readonly document: unknown;
}

/** @throws BerthError LIBRARY_LOCK_INVALID */
export function parseNpmLock(text: string, file: string): NpmLock {
  const refuse = (why: string, hint?: string) =>
    new BerthError('LIBRARY_LOCK_INVALID', `${file} ${why}.`, hint === undefined ? {} : { hint });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw refuse(`is not JSON: ${(error as Error).message}`);
  }
  const version = z.looseObject({ lockfileVersion: z.number().optional() }).safeParse(document).data?.lockfileVersion;
  if (version === undefined || version < 2) {
    throw refuse(
      `is a lock of version ${version ?? 1}; Berth reads 2 and 3`,
      'Run `npm install --package-lock-only` with npm 7 or later.',
    );
  }
  const parsed = lockSchema.safeParse(document);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refuse(`is not of its form at \`${issue?.path.join('.') ?? ''}\`: ${issue?.message ?? ''}`);
  }
  return { packages: parsed.data.packages, document };
}

/**
 * npm may leave out where packages come from (its setting `omit-lockfile-registry-resolved`); they are the registry's
 * then, and npm would ask it for each package's page first.
 * @param registry npm's default one
 */
export function withUrls(lock: NpmLock, registry: string): NpmLock {
  const packages = Object.fromEntries(
    Object.entries(lock.packages).map(([path, entry]) => [
      path,
      isOfRegistry(path, entry) && entry.resolved === undefined
        ? { ...entry, resolved: urlOf(registry, path, entry) }
        : entry,
    ]),
  );
  return { packages, document: { ...(lock.document as object), packages } };
}

/**
 * @param system `x86_64-linux`
 * @throws BerthError LIBRARY_LOCK_UNHASHED, LIBRARY_UNSUPPORTED, LIBRARY_PLATFORM
 */
export function packagesOf(
  lock: NpmLock,
  file: string,
  system: string,
): { artifacts: LockedArtifact[]; packages: LibraryPackage[] } {
  const artifacts: LockedArtifact[] = [];
  const packages: LibraryPackage[] = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (!isOfRegistry(path, entry)) continue;
    const name = nameOf(path, entry);
    const label = `${name} ${entry.version ?? ''}`.trim();
    if (!fits(entry, system)) {
      // npm leaves an optional one out; one that is needed can't be installed here.
      if (entry.optional === true) continue;
      throw new BerthError('LIBRARY_PLATFORM', `${file}: ${label} is for another platform than ${system}.`, {
        hint: 'Make the lock on, or for, the platform that it is used on, or make the package optional.',
      });
    }
    const url = entry.resolved ?? '';
    if (!/^https?:\/\//.test(url)) {
      throw new BerthError('LIBRARY_UNSUPPORTED', `${file}: ${label} comes from \`${url}\`, which has no hash.`, {
        hint: 'Publish it to a registry, or install it by hand in the container.',
      });
    }
    const integrity = entry.integrity === undefined ? undefined : parseIntegrity(entry.integrity);
    if (!integrity) {
      throw new BerthError('LIBRARY_LOCK_UNHASHED', `${file} has no hash for ${label}.`, {
        hint: 'Remove the file and node_modules, and run `npm install` to make a lock with hashes.',
      });
    }
    artifacts.push({ url, label, integrity });
    packages.push({ name, version: entry.version ?? '', purl: purlOf(name, entry.version ?? '') });
  }
  return { artifacts, packages };
}

/** Not the project itself, nor its workspaces, links to them, or what another package carries within. */
function isOfRegistry(path: string, entry: Entry): boolean {
  return path.includes('node_modules/') && entry.link !== true && entry.inBundle !== true;
}

function nameOf(path: string, entry: Entry): string {
  return entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

function urlOf(registry: string, path: string, entry: Entry): string {
  const name = nameOf(path, entry);
  return `${registry.replace(/\/$/, '')}/${name}/-/${name.slice(name.indexOf('/') + 1)}-${entry.version ?? ''}.tgz`;
}

const cpus: Readonly<Record<string, string>> = { x86_64: 'x64', aarch64: 'arm64' };

/** As npm's own check: a list of names, or of names that are ruled out by `!`. */
function fits(entry: Entry, system: string): boolean {
  const [machine = '', os = ''] = system.split('-');
  return admits(entry.os, os) && admits(entry.cpu, cpus[machine] ?? machine);
}

function admits(rule: string | readonly string[] | undefined, value: string): boolean {
  const rules = typeof rule === 'string' ? [rule] : (rule ?? []);
  if (rules.includes(`!${value}`)) return false;
  const named = rules.filter((one) => !one.startsWith('!'));
  return named.length === 0 || named.includes('any') || named.includes(value);
}

/** `pkg:npm/%40scope/name@1.0.0` (purl specification, type npm). */
function purlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}
