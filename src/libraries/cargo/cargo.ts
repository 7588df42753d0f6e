/**
 * Cargo: the crates that Cargo.lock names, as a directory source (The Cargo Book, "Source Replacement"; what `cargo vendor`
 * makes) in a CARGO_HOME, so that every cargo builds with no index and no network.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import { BerthError } from '../../core/errors.ts';
import {
  shell,
  type LibraryInput,
  type LibraryManager,
  type LibraryPlan,
  type LocateTools,
  type LockedArtifact,
} from '../library.ts';
import { parseCargoLock, type Crate } from './cargo-lock.ts';

const folder = '.berth-cargo';
const target = '/opt/libraries/cargo';
/** The sandbox's own tar: an environment with cargo has not always one. */
const unpack = `/berth/bin/busybox mkdir -p ${folder}/crates && for file in /berth/downloads/*.crate; do
  [ -e "$file" ] || continue
  /berth/bin/busybox tar -xzf "$file" -C ${folder}/crates || exit 1
done`;

export const cargo: LibraryManager = {
  name: 'cargo',
  lockFiles: ['Cargo.lock'],
  programs: [{ name: 'cargo', packages: 'cargo and rustc' }],
  version: 1,
  keepHint: 'mv $CARGO_HOME/config.toml /tmp && cargo add NAME',
  async plan({ lockFile }) {
    const text = await readFile(lockFile);
    const crates = parseCargoLock(text.toString('utf8'), lockFile);
    return {
      inputs: [
        { path: basename(lockFile), content: text },
        { path: `${folder}/config.toml`, content: Buffer.from(configOf(crates)) },
        ...crates.map(checksumFile),
      ],
      artifacts: [],
      pages: {},
      fetch: [shell(unpack)],
      build: [],
      outputs: [folder],
      place: { mounts: [{ folder, target }], variables: { CARGO_HOME: target }, path: [`${target}/bin`] },
      packages: crates.map(({ name, version }) => ({ name, version, purl: `pkg:cargo/${name}@${version}` })),
      locate: async (tools) => ({ artifacts: await artifactsOf(crates, lockFile, tools), inputs: [], packages: [] }),
    } satisfies LibraryPlan;
  },
};

/** Says that each registry of the lock is replaced by the folder. */
function configOf(crates: readonly Crate[]): string {
  const tables = [...new Set(crates.map(({ source }) => source))].sort().map((source, at) => {
    const url = source.startsWith('registry+') ? source.slice('registry+'.length) : source;
    const [name, registry] = isDefault(source)
      ? ['crates-io', '']
      : [`registry-${at}`, `registry = ${JSON.stringify(url)}\n`];
    return `[source.${name}]\n${registry}replace-with = "berth"\n`;
  });
  return [
    '# Made by Berth: crates come from this folder, which has what Cargo.lock names. Without this file they come from their\n# registry again.\n',
    ...tables,
    `[source.berth]\ndirectory = "${target}/crates"\n`,
  ].join('\n');
}

/** In a directory source each crate says its hash, which cargo compares to the lock's. */
function checksumFile({ name, version, integrity }: Crate): LibraryInput {
  const content = JSON.stringify({ files: {}, package: Buffer.from(integrity.digest).toString('hex') });
  return { path: `${folder}/crates/${name}-${version}/.cargo-checksum.json`, content: Buffer.from(content) };
}

const indexSchema = z.looseObject({ dl: z.string() });

/** Where crates lie is in their index's config.json (The Cargo Book, "Registry Index"). */
async function artifactsOf(crates: readonly Crate[], file: string, tools: LocateTools): Promise<LockedArtifact[]> {
  const templates = new Map<string, string>();
  for (const source of new Set(crates.map((crate) => crate.source))) {
    const url = `${indexOf(source, file)}config.json`;
    const page = Buffer.from(await tools.page(url)).toString('utf8');
    const parsed = indexSchema.safeParse(jsonOf(page));
    if (!parsed.success) throw new BerthError('LIBRARY_DOWNLOAD_FAILED', `${url} is no configuration of an index.`);
    templates.set(source, parsed.data.dl);
  }
  return crates.map((crate) => ({
    url: urlOf(crate, templates.get(crate.source) ?? ''),
    label: `${crate.name} ${crate.version}`,
    integrity: crate.integrity,
    saveAs: `${crate.name}-${crate.version}.crate`,
  }));
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Locks name the default registry by the repository that its index was once kept in. */
function isDefault(source: string): boolean {
  return /^registry\+https:\/\/github\.com\/rust-lang\/[a-z.]+-index$/.test(source);
}

/** @returns the sparse index's address, with the slash at its end */
function indexOf(source: string, file: string): string {
  if (isDefault(source)) return `https://index.${basename(source).replace(/-index$/, '')}/`;
  if (source.startsWith('sparse+')) return source.slice('sparse+'.length).replace(/\/?$/, '/');
  throw new BerthError('LIBRARY_UNSUPPORTED', `${file} names a registry whose index is a git repository: ${source}.`, {
    hint: 'Use the registry by its sparse index.',
  });
}

function urlOf({ name, version, integrity }: Crate, template: string): string {
  if (!template.includes('{')) return `${template}/${name}/${version}/download`;
  const lower = prefixOf(name.toLowerCase());
  return template
    .replaceAll('{crate}', name)
    .replaceAll('{version}', version)
    .replaceAll('{prefix}', prefixOf(name))
    .replaceAll('{lowerprefix}', lower)
    .replaceAll('{sha256-checksum}', Buffer.from(integrity.digest).toString('hex'));
}

/** `1`, `2`, `3/a`, `ab/cd`: the folder of a crate's name. */
function prefixOf(name: string): string {
  if (name.length <= 2) return String(name.length);
  return name.length === 3 ? `3/${name.slice(0, 1)}` : `${name.slice(0, 2)}/${name.slice(2, 4)}`;
}
