/**
 * A layer's members, made safe to unpack by root: an image that was pulled is untrusted. Each path is below the layer's
 * folder and no symbolic link of the layer is on its way; since a layer is unpacked into a folder of its own, there are
 * no other links. What takes something away from the layers below is set aside (image specification, "Whiteouts").
 */
import { BerthError } from '../../../core/errors.ts';
import type { TarMember } from '../../../oci/tar/tar-member.ts';

/** What a layer takes away. Paths are relative, byte by byte as latin1. */
export interface Whiteouts {
  /** Paths that are gone. */
  readonly removed: Set<string>;
  /** Folders that show nothing of the layers below. */
  readonly opaque: Set<string>;
}

export interface LayerMembers {
  /**
   * What the layer takes away, once all members were taken.
   * @throws BerthError IMAGE_INVALID where a link that came later leads it elsewhere
   */
  whiteouts(): Whiteouts;
  /**
   * @returns the member as it may be unpacked, or undefined for one that is not to be
   * @throws BerthError IMAGE_INVALID for one that would leave the folder
   */
  take(member: TarMember): TarMember | undefined;
}

const prefix = '.wh.';
const opaqueMark = '.wh..wh..opq';

export function layerMembers(): LayerMembers {
  const links = new Set<string>();
  const whiteouts: Whiteouts = { removed: new Set(), opaque: new Set() };

  const refuse = (path: Buffer, why: string) =>
    new BerthError('IMAGE_INVALID', `A layer holds \`${path.toString()}\`, which ${why}; it is not unpacked.`);

  function inside(path: Buffer): string {
    const parts = path
      .toString('latin1')
      .split('/')
      .filter((part) => part !== '' && part !== '.');
    if (parts.some((part) => part === '..' || part.includes('\0'))) throw refuse(path, 'leads out of the image');
    for (let depth = 1; depth < parts.length; depth += 1) {
      if (links.has(parts.slice(0, depth).join('/'))) throw refuse(path, 'lies behind a symbolic link');
    }
    return parts.join('/');
  }

  return {
    whiteouts() {
      for (const path of whiteouts.removed) inside(Buffer.from(path, 'latin1'));
      for (const path of whiteouts.opaque) inside(Buffer.from(path, 'latin1'));
      for (const path of whiteouts.opaque) if (links.has(path)) throw refuse(Buffer.from(path, 'latin1'), 'is a link');
      return whiteouts;
    },
    take(member) {
      const path = inside(member.path);
      const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')));
      const name = path.slice(path.lastIndexOf('/') + 1);
      if (name.startsWith(prefix)) {
        if (name === opaqueMark) whiteouts.opaque.add(folder);
        // Those that begin twice so are aufs's own.
        else if (!name.startsWith(prefix + prefix)) {
          const gone = name.slice(prefix.length);
          if (gone === '' || gone === '.' || gone === '..') throw refuse(member.path, 'takes away no name');
          whiteouts.removed.add(folder === '' ? gone : `${folder}/${gone}`);
        }
        return undefined;
      }
      // The image's own root folder.
      if (path === '') return member.type === 'directory' ? { ...member, path: Buffer.from('.') } : undefined;
      if (member.type === 'symlink') links.add(path);
      else if (links.has(path) && member.type === 'directory') throw refuse(member.path, 'is a link and a folder');
      // A berth has the devices of its own /dev; one that an image brings could be the host's disk.
      if (member.type === 'character' || member.type === 'block') return undefined;
      const target = member.type === 'link' ? Buffer.from(inside(member.target), 'latin1') : member.target;
      if (member.type === 'link' && target.length === 0) throw refuse(member.path, 'is a link to a folder');
      return { ...member, path: Buffer.from(path, 'latin1'), target, xattrs: harmless(member.xattrs) };
    },
  };
}

/** File capabilities and users' own attributes; the rest mean something on the host, overlayfs's own above all. */
function harmless(xattrs: TarMember['xattrs']): TarMember['xattrs'] {
  return new Map(
    [...xattrs].filter(
      ([name]) => name === 'security.capability' || (name.startsWith('user.') && !name.startsWith('user.overlay.')),
    ),
  );
}
