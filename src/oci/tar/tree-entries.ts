/** A small tree in memory as the members of an archive: the minimal image's files, links of the FHS view. */
import { BerthError } from '../../core/errors.ts';
import type { TarEntry } from './tar-stream.ts';

/** Path in the image, without a slash at either end, to what is there. Folders above it need not be named. */
export type ImageTree = Readonly<Record<string, TreeNode>>;

export type TreeNode =
  | { readonly content: string | Uint8Array; readonly mode?: number }
  | { readonly target: string }
  | { readonly directory: true; readonly mode?: number };

/**
 * @returns the tree's members, folders before what is in them, sorted by their bytes
 * @throws BerthError IMAGE_INVALID for a path that leaves the image or lies below a file
 */
export function treeEntries(tree: ImageTree): TarEntry[] {
  const nodes = new Map<string, TreeNode>();
  for (const [path, node] of Object.entries(tree)) {
    const parts = path.split('/');
    if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
      throw new BerthError('IMAGE_INVALID', `\`${path}\` is no path within an image.`);
    }
    for (let depth = 1; depth < parts.length; depth += 1) {
      const above = parts.slice(0, depth).join('/');
      // By own properties only: a file may be named `toString`.
      const there = Object.hasOwn(tree, above) ? tree[above] : undefined;
      if (there && !('directory' in there)) {
        throw new BerthError('IMAGE_INVALID', `\`${path}\` lies below \`${above}\`, which is no directory.`);
      }
      if (!there) nodes.set(above, { directory: true });
    }
    nodes.set(path, node);
  }
  return [...nodes]
    .map(([path, node]) => entryOf(Buffer.from(path), node))
    .sort((a, b) => Buffer.compare(sortKey(a.path), sortKey(b.path)));
}

function entryOf(path: Buffer, node: TreeNode): TarEntry {
  if ('target' in node) return { type: 'symlink', path, target: Buffer.from(node.target) };
  if ('directory' in node) return { type: 'directory', path, mode: node.mode ?? 0o755 };
  const content = Buffer.from(node.content);
  return { type: 'file', path, mode: node.mode ?? 0o644, size: content.length, content };
}

/** Sorts `a/b` before `a.c`, so that what is in a folder follows it at once, as a walk of a disk would have it. */
function sortKey(path: Buffer): Buffer {
  return Buffer.from(path.map((byte) => (byte === 0x2f ? 0 : byte)));
}
