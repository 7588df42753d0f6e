import { expect, test } from 'vitest';
import type { MemberType, TarMember } from '../../../oci/tar/tar-member.ts';
import { layerMembers } from './layer-members.ts';

function member(path: string, type: MemberType = 'file', target = ''): TarMember {
  return {
    ...{ type, path: Buffer.from(path), target: Buffer.from(target), mode: 0o644, uid: 0, gid: 0, mtime: 0, size: 0 },
    ...{ device: { major: 0, minor: 0 }, xattrs: new Map() },
  };
}

/** @returns the paths that are unpacked */
function taken(members: readonly TarMember[]): (string | undefined)[] {
  const all = layerMembers();
  const paths = members.map((one) => all.take(one)?.path.toString());
  all.whiteouts();
  return paths;
}

test('paths are put below the folder', () => {
  expect(taken([member('./'), member('/etc/x'), member('./a//b/./c'), member('..x')])).toEqual([
    ...[undefined, 'etc/x', 'a/b/c', '..x'],
  ]);
  expect(taken([member('./', 'directory')])).toEqual(['.']);
});

test.each([
  ['a path out of the image', [member('../x')]],
  ['one in the middle', [member('a/../../x')]],
  ['a path behind a link', [member('l', 'symlink', '/etc'), member('l/passwd')]],
  ['one deeper behind a link', [member('l', 'symlink', '..'), member('./l/a/b')]],
  ['a hard link out of the image', [member('h', 'link', '../../etc/shadow')]],
  ['a hard link behind a link', [member('l', 'symlink', '/etc'), member('h', 'link', 'l/shadow')]],
  ['a hard link to the folder itself', [member('h', 'link', './')]],
  ['a folder in the place of a link', [member('l', 'symlink', '/'), member('l', 'directory')]],
  ['a whiteout of the folder above', [member('d/.wh...')]],
  ['a whiteout behind a link', [member('l', 'symlink', '/'), member('l/.wh.etc')]],
  ['a whiteout behind a link that comes later', [member('l/.wh.etc'), member('l', 'symlink', '/')]],
  ['an opaque link', [member('l/.wh..wh..opq'), member('l', 'symlink', '/')]],
])('refuses %s', (_what, members) => {
  expect(() => taken(members)).toThrow(expect.objectContaining({ code: 'IMAGE_INVALID' }) as Error);
});

test('sets whiteouts aside', () => {
  const members = layerMembers();
  for (const path of ['.wh.a', 'd/.wh.b', 'e/.wh..wh..opq', '.wh..wh.plnk', '.wh..wh..opq']) members.take(member(path));
  expect([...members.whiteouts().removed]).toEqual(['a', 'd/b']);
  expect([...members.whiteouts().opaque]).toEqual(['e', '']);
});

test('leaves out devices, and attributes that mean something on the host', () => {
  expect(taken([member('null', 'character'), member('sda', 'block')])).toEqual([undefined, undefined]);
  const names = [
    'security.capability',
    'security.selinux',
    'trusted.overlay.redirect',
    'user.overlay.opaque',
    'user.x',
  ];
  const xattrs = new Map(names.map((name) => [name, Buffer.from('1')]));
  const kept = layerMembers().take({ ...member('f'), xattrs });
  expect([...(kept?.xattrs.keys() ?? [])]).toEqual(['security.capability', 'user.x']);
});
