/**
 * What an image of an environment holds besides its store paths, as trees: below them the minimal image, above them what
 * the agent reads, so that the image runs by itself as a berth of mode `shell` does.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../core/files.ts';
import type { ImageEntry } from '../engine/minimal-image/entries.ts';
import type { MinimalImage } from '../engine/minimal-image/minimal-image.ts';
import { physicalPath, type Store } from '../nix/store.ts';
import type { ImageTree, TreeNode } from '../oci/tar/tree-entries.ts';
import type { ImageContent } from './image.ts';
import { type BerthContent, defaultFhs, generationFiles, generationFolder, nulSeparated } from './generation.ts';

/** Where the agent looks for the environment. */
const runDirectory = '/run/berth';

/** @returns the minimal image's files as the tree of the lowest layer */
export function baseTree({ skeleton, shared }: Pick<MinimalImage, 'skeleton' | 'shared'>): ImageTree {
  return Object.fromEntries([...skeleton, ...shared].map((entry) => [entry.path.slice(1), nodeOf(entry)]));
}

function nodeOf(entry: ImageEntry): TreeNode {
  switch (entry.type) {
    case 'directory':
      return { directory: true, mode: entry.mode };
    case 'link':
      return { target: entry.target };
    case 'file':
      return { content: entry.content, mode: entry.mode };
  }
}

/**
 * @returns the tree of the top layer: /run/berth as generation.ts writes it, and in /etc the links that the
 *   agent would make, since the agent may not where a container runs as another user or with a read-only root
 */
export async function environmentTree(
  store: Store,
  content: BerthContent & Pick<ImageContent, 'links'>,
  base: Pick<MinimalImage, 'skeleton' | 'shared'>,
): Promise<ImageTree> {
  const folder = generationFolder(1);
  const tree: Record<string, TreeNode> = {
    'run/berth/current': { target: folder },
    'run/berth/fhs': { target: 'current/fhs' },
    [`run/berth/${folder}/fhs`]: { target: content.fhs ?? defaultFhs },
    ...(content.command ? { 'run/berth/command': { content: nulSeparated(content.command) } } : {}),
  };
  for (const [path, target] of Object.entries(content.links ?? {})) tree[path.slice(1)] = { target };
  for (const [name, text] of Object.entries(generationFiles(1, content))) {
    tree[`run/berth/${folder}/${name}`] = { content: text };
  }
  const own = new Set(base.skeleton.map(({ path }) => path));
  const defaults = base.shared.flatMap(({ path }) => nameIn(`${defaultFhs}/etc`, path));
  const view = content.fhs === null ? [] : await entriesOf(join(physicalPath(store, content.fhs), 'etc'));
  const etcOf = (name: string) =>
    content.fhs !== null && view.includes(name) ? `${runDirectory}/fhs/etc/${name}` : `${defaultFhs}/etc/${name}`;
  for (const name of new Set([...view, ...defaults])) {
    if (!own.has(`/etc/${name}`)) tree[`etc/${name}`] = { target: etcOf(name) };
  }
  return tree;
}

function nameIn(folder: string, path: string): string[] {
  const name = path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : '';
  return name === '' || name.includes('/') ? [] : [name];
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
