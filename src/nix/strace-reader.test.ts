import { describe, expect, it } from 'vitest';
import { readStrace } from './strace-reader.ts';

function read(...lines: string[]) {
  const seen = readStrace(lines.join('\n'), (path) => path.startsWith('/p/'));
  return Object.fromEntries(Object.entries(seen).map(([kind, paths]) => [kind, [...(paths as Set<string>)]]));
}

const nothing = { opened: [], listed: [], absent: [], links: [], exists: [] };

describe('a trace of strace', () => {
  it('tells reads, listings, misses, links and questions apart', () => {
    expect(
      read(
        '6     newfstatat(AT_FDCWD</>, "/p/a.nix", {st_mode=S_IFREG|0644, st_size=3, ...}, AT_SYMLINK_NOFOLLOW) = 0',
        '6     openat(AT_FDCWD</>, "/p/a.nix", O_RDONLY|O_CLOEXEC) = 4</p/a.nix>',
        '6     newfstatat(4</p/a.nix>, "", {st_mode=S_IFREG|0644, st_size=3, ...}, AT_EMPTY_PATH) = 0',
        '6     openat(AT_FDCWD</>, "/p/dir", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 5</p/dir>',
        '6     getdents64(5</p/dir>, 0x55ec96ca9220 /* 4 entries */, 32768) = 96',
        '6     newfstatat(AT_FDCWD</>, "/p/absent", 0x7ffd277176e0, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)',
        '6     openat(AT_FDCWD</>, "/p/a.nix/x", O_RDONLY) = -1 ENOTDIR (Not a directory)',
        '6     readlink("/p/link", "a.nix", 1024) = 5',
        '6     access("/p/there", R_OK)     = 0',
        '6     openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>',
        '6     +++ exited with 0 +++',
      ),
    ).toEqual({
      opened: ['/p/a.nix'],
      listed: ['/p/dir'],
      absent: ['/p/absent', '/p/a.nix/x'],
      links: ['/p/link'],
      exists: ['/p/a.nix', '/p/dir', '/p/there'],
    });
  });

  it('joins calls that were cut in two by another thread', () => {
    expect(
      read(
        '7 openat(AT_FDCWD</>, "/p/a", O_RDONLY|O_CLOEXEC <unfinished ...>',
        '8 newfstatat(AT_FDCWD</>, "/p/b",  <unfinished ...>',
        '7 <... openat resumed>) = 4</p/a>',
        '8 <... newfstatat resumed>0x7ffd, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)',
      ),
    ).toEqual({ ...nothing, opened: ['/p/a'], absent: ['/p/b'] });
  });

  it('follows folders that are open, and unescapes names', () => {
    expect(
      read(
        '7 openat(5</p/dir>, "sub/../file", O_RDONLY) = 6</p/dir/file>',
        '7 openat(AT_FDCWD</p/work>, "here", O_RDONLY) = 6</p/work/here>',
        String.raw`7 openat(AT_FDCWD</>, "/p/caf\303\251 \"x\" \\ \t", O_RDONLY) = 6</p/...>`,
        String.raw`7 getdents64(5</p/a\76b>, 0x1 /* 2 entries */, 32768) = 48`,
      ),
    ).toEqual({
      ...nothing,
      opened: ['/p/dir/file', '/p/work/here', '/p/café "x" \\ \t'],
      listed: ['/p/a>b'],
    });
  });

  it('passes over what it does not know', () => {
    expect(
      read(
        '',
        'strace: Process 7 attached',
        '7 openat(AT_FDCWD</>, NULL, O_RDONLY) = -1 EFAULT (Bad address)',
        '7 ???',
      ),
    ).toEqual(nothing);
  });
});
