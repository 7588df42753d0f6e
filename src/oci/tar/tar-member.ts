/** A member of a tar as it comes from outside, with all that a layer may say of it; and its headers, written anew. */

export type MemberType = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

export interface TarMember {
  readonly type: MemberType;
  /** Bytes, as Linux has them. As the archive has it: it may be absolute, hold `..` or end with a slash. */
  readonly path: Buffer;
  /** Of a hard or symbolic link. */
  readonly target: Buffer;
  /** Permission bits, setuid, setgid and sticky bit. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  /** Bytes of content. */
  readonly size: number;
  readonly device: { readonly major: number; readonly minor: number };
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

const typeFlags: Record<MemberType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** Of a tar's blocks, in bytes. */
export const blockSize = 512;
export const xattrPrefix = 'SCHILY.xattr.';
/** GNU tar's members that hold the next member's name or link target, in bytes as they are. */
export const longName = { path: 'L', target: 'K' } as const;

/** @returns the member's headers as GNU tar reads them; its content, filled up to a whole block, comes next */
export function memberHeaders(member: TarMember): Buffer {
  const path = member.type === 'directory' ? Buffer.concat([member.path, Buffer.from('/')]) : member.path;
  const parts: Buffer[] = [];
  const records: Buffer[] = [];
  const number = (key: string, value: number, digits: number) => {
    if (Number.isInteger(value) && value >= 0 && value < 8 ** digits) return value;
    records.push(paxRecord(key, Buffer.from(String(value))));
    return 0;
  };
  const fields = {
    uid: number('uid', member.uid, 7),
    gid: number('gid', member.gid, 7),
    size: number('size', member.size, 11),
    mtime: number('mtime', member.mtime, 11),
  };
  for (const [name, value] of member.xattrs) records.push(paxRecord(`${xattrPrefix}${name}`, value));
  if (records.length > 0) parts.push(...extra('x', Buffer.concat(records)));
  if (path.length > 100) parts.push(...extra(longName.path, Buffer.concat([path, Buffer.alloc(1)])));
  if (member.target.length > 100)
    parts.push(...extra(longName.target, Buffer.concat([member.target, Buffer.alloc(1)])));
  parts.push(header(typeFlags[member.type], { ...member, ...fields, path }));
  return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
}

/** @returns zeros that fill content of that size up to a whole block */
export function fillOf(size: number): Buffer {
  return zeros.subarray(0, (blockSize - (size % blockSize)) % blockSize);
}

const zeros = Buffer.alloc(blockSize);

function extra(flag: string, body: Buffer): Buffer[] {
  const none = { path: Buffer.from('header'), target: zeros.subarray(0, 0), device: { major: 0, minor: 0 } };
  return [
    header(flag, { ...none, mode: 0o644, uid: 0, gid: 0, mtime: 0, size: body.length }),
    body,
    fillOf(body.length),
  ];
}

function header(flag: string, fields: Omit<TarMember, 'type' | 'xattrs'>): Buffer {
  const block = Buffer.alloc(blockSize);
  const octal = (value: number, at: number, length: number) =>
    void block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  fields.path.copy(block, 0, 0, 100);
  octal(fields.mode, 100, 8);
  octal(fields.uid, 108, 8);
  octal(fields.gid, 116, 8);
  octal(fields.size, 124, 12);
  octal(fields.mtime, 136, 12);
  block.fill(' ', 148, 156);
  block.write(flag, 156, 'latin1');
  fields.target.copy(block, 157, 0, 100);
  block.write('ustar\u000000', 257, 'latin1');
  octal(fields.device.major, 329, 8);
  octal(fields.device.minor, 337, 8);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record, its own digits too. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.byteLength(key) + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
