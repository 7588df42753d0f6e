/* berth-bind: attaches folders to containers that run. A daemon that is root keeps one; it asks over standard input and is
 * answered over standard output, and this process ends when the daemon does. Each request has a process of its own, so
 * that one that fails or waits harms no other. src/engine/pool/mount-helper.ts is its client.
 *
 * A request is u32 length, then u32 number and texts ended by NUL: the verb and its arguments. An answer is u32 number,
 * i32 0 or a negative error number, u32 index of the text at which it failed.
 *   probe                                             whether the kernel and this user can do it at all
 *   bind PID HOSTNAME links|- (KIND SOURCE TARGET)…   KIND: `ro`, `rw` (with what is mounted below), `farm`
 *   farm FOLDER STORE NAME…                           FOLDER shows these entries of STORE, read-only
 *   drop FOLDER                                       lets go of a farm
 * Farms are made in this process's own mount namespace: the host does not see them, and they end with it. */
#include "agent.h"
#include "start.h"

#include <linux/mount.h>
#include <linux/sched.h>

#define MAX_TEXTS 65536
#define REQUEST_LIMIT (4 * 1024 * 1024)
#define PATH_LIMIT 4096
#define MAX_MOUNTS 128
#define MNT_DETACH 2
#define AT_RECURSIVE_FLAG 0x8000

static char request[REQUEST_LIMIT];
static char *texts[MAX_TEXTS];

/* Where a request failed: the index of its text. */
static u32 at_text;

static long read_whole(char *buffer, usize size) {
  usize length = 0;
  while (length < size) {
    long got = sys_read(0, buffer + length, size - length);
    if (got == -EINTR) continue;
    if (got <= 0) return -1;
    length += (usize)got;
  }
  return 0;
}

static long number_of(const char *text) {
  long number = 0;
  for (; *text >= '0' && *text <= '9'; text += 1) number = number * 10 + (*text - '0');
  return *text == 0 ? number : -1;
}

/* A copy of a mount that is attached nowhere yet. Propagation is cut: what is mounted later on either side stays there. */
static long clone_mount(int directory, const char *path, unsigned long attributes, int recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE_FLAG : 0);
  long tree = SYS3(__NR_open_tree, directory, path, flags);
  if (tree < 0) return tree;
  struct mount_attr attr = {.attr_set = attributes, .propagation = 1ul << 18 /* MS_PRIVATE */};
  long failed = SYS(__NR_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_FLAG : 0), &attr,
                    sizeof attr, 0);
  if (failed == 0) return tree;
  sys_close((int)tree);
  return failed;
}

static long attach(int tree, int directory, const char *target) {
  return SYS(__NR_move_mount, tree, "", directory, target, MOVE_MOUNT_F_EMPTY_PATH, 0);
}

/* Makes the folders above `path`, and it itself: a folder, or an empty file to mount a file on. */
static long make_place(const char *path, int is_folder) {
  char part[PATH_LIMIT];
  usize length = strlen(path);
  if (length >= sizeof part) return -ENAMETOOLONG;
  memcpy(part, path, length + 1);
  for (usize i = 1; i <= length; i += 1) {
    if (part[i] != '/' && part[i] != 0) continue;
    char kept = part[i];
    part[i] = 0;
    long failed;
    if (kept == 0 && !is_folder) {
      failed = sys_open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
      if (failed >= 0) sys_close((int)failed);
    } else failed = SYS3(__NR_mkdirat, AT_FDCWD, part, 0755);
    if (failed < 0 && failed != -EEXIST) return failed;
    part[i] = kept;
  }
  return 0;
}

static long join_namespace(long pid, const char *name, int kind) {
  char path[64];
  struct text text = text_in(path, sizeof path);
  text_add(&text, "/proc/");
  text_add_number(&text, (unsigned long)pid);
  text_add(&text, "/ns/");
  text_add(&text, name);
  long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  long failed = SYS2(__NR_setns, fd, kind);
  sys_close((int)fd);
  return failed;
}

static long probe(void) {
  long tree = clone_mount(AT_FDCWD, "/", MOUNT_ATTR_RDONLY, 0);
  return tree < 0 ? tree : 0;
}

static long bind(usize count) {
  int trees[MAX_MOUNTS];
  if (count < 4 || (count - 4) % 3 != 0 || (count - 4) / 3 > MAX_MOUNTS) return -EINVAL;
  long pid = number_of(texts[1]);
  at_text = 1;
  if (pid <= 1) return -EINVAL;
  usize mounts = 0;
  for (usize i = 4; i < count; i += 3) {
    at_text = (u32)i + 1;
    unsigned long attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    int recursive = !text_equal(texts[i], "ro");
    if (!text_equal(texts[i], "rw")) attributes |= MOUNT_ATTR_RDONLY;
    long tree = clone_mount(AT_FDCWD, texts[i + 1], attributes, recursive);
    if (tree < 0) return tree;
    trees[mounts++] = (int)tree;
  }
  at_text = 2;
  if (*texts[2] != 0) {
    long failed = join_namespace(pid, "uts", CLONE_NEWUTS);
    if (failed == 0) failed = SYS2(__NR_sethostname, texts[2], strlen(texts[2]));
    if (failed < 0) return failed;
  }
  at_text = 1;
  long failed = join_namespace(pid, "mnt", CLONE_NEWNS);
  if (failed < 0) return failed;
  for (usize i = 0; i < mounts; i += 1) {
    const char *target = texts[4 + 3 * i + 2];
    at_text = (u32)(4 + 3 * i + 2);
    failed = attach(trees[i], AT_FDCWD, target);
    if (failed == -ENOENT) {
      struct stat status;
      sys_fstat(trees[i], &status);
      failed = make_place(target, (status.st_mode & S_IFMT) == S_IFDIR);
      if (failed == 0) failed = attach(trees[i], AT_FDCWD, target);
    }
    if (failed < 0) return failed;
  }
  if (text_equal(texts[3], "links")) link_etc();
  return 0;
}

static long show_entry(int farm, int store, const char *name) {
  struct stat status;
  long failed = sys_fstatat(store, name, &status, AT_SYMLINK_NOFOLLOW);
  if (failed < 0) return failed;
  if ((status.st_mode & S_IFMT) == S_IFLNK) {
    char target[PATH_LIMIT];
    long length = sys_readlinkat(store, name, target, sizeof target - 1);
    if (length < 0) return length;
    target[length] = 0;
    return sys_symlinkat(target, farm, name);
  }
  if ((status.st_mode & S_IFMT) == S_IFDIR) failed = SYS3(__NR_mkdirat, farm, name, 0755);
  else {
    failed = sys_openat(farm, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (failed >= 0) failed = sys_close((int)failed);
  }
  if (failed < 0) return failed;
  long tree = clone_mount(store, name, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0);
  if (tree < 0) return tree;
  failed = attach((int)tree, farm, name);
  sys_close((int)tree);
  return failed;
}

static long build_farm(usize count) {
  if (count < 3) return -EINVAL;
  at_text = 1;
  long failed = make_place(texts[1], 1);
  if (failed == 0) failed = SYS(__NR_mount, "berth-closure", texts[1], "tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                "mode=755", 0);
  if (failed < 0) return failed;
  long farm = sys_open(texts[1], O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  at_text = 2;
  long store = sys_open(texts[2], O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  failed = farm < 0 ? farm : store < 0 ? store : 0;
  for (usize i = 3; failed == 0 && i < count; i += 1) {
    at_text = (u32)i;
    failed = show_entry((int)farm, (int)store, texts[i]);
  }
  struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
  if (failed == 0) failed = SYS(__NR_mount_setattr, farm, "", AT_EMPTY_PATH, &read_only, sizeof read_only, 0);
  if (failed < 0) SYS2(__NR_umount2, texts[1], MNT_DETACH);
  return failed;
}

static long serve(usize count) {
  if (count == 0) return -EINVAL;
  if (text_equal(texts[0], "probe")) return probe();
  if (text_equal(texts[0], "bind")) return bind(count);
  if (text_equal(texts[0], "farm")) return build_farm(count);
  if (text_equal(texts[0], "drop") && count == 2) return SYS2(__NR_umount2, texts[1], MNT_DETACH);
  return -EINVAL;
}

static void answer(u32 number, long result) {
  u8 bytes[12];
  put_u32(bytes, number);
  put_u32(bytes + 4, (u32)(int)result);
  put_u32(bytes + 8, at_text);
  write_all(1, bytes, sizeof bytes);
}

static void handle(usize length) {
  u32 number = get_u32((u8 *)request);
  usize count = 0;
  for (char *at = request + 4; at < request + length && count < MAX_TEXTS; at += strlen(at) + 1) texts[count++] = at;
  answer(number, count == MAX_TEXTS ? -E2BIG : serve(count));
}

/* Children are nobody's to wait for. */
static void leave_children(void) {
  struct {
    long handler;
    unsigned long flags;
    long restorer;
    unsigned long mask;
  } ignore = {1 /* SIG_IGN */, 0, 0, 0};
  SYS4(__NR_rt_sigaction, SIGCHLD, &ignore, NULL, sizeof(unsigned long));
}

static int run(int argc, char **argv, char **environment) {
  (void)argc, (void)argv, (void)environment;
  leave_children();
  SYS1(__NR_umask, 022);
  SYS1(__NR_chdir, "/");
  /* What the host mounts later is seen here too; what is mounted here is not seen by the host. */
  long isolated = SYS1(__NR_unshare, CLONE_NEWNS);
  if (isolated == 0) isolated = SYS(__NR_mount, NULL, "/", NULL, 1ul << 19 | 1ul << 14 /* MS_SLAVE | MS_REC */, NULL, 0);
  u8 header[4];
  while (read_whole((char *)header, sizeof header) == 0) {
    u32 length = get_u32(header);
    if (length < 5 || length > REQUEST_LIMIT || read_whole(request, length) < 0) return 1;
    request[length - 1] = 0;
    at_text = 0;
    if (isolated < 0) {
      answer(get_u32((u8 *)request), isolated);
      continue;
    }
    /* In this process's memory, which waits until it has ended: a claim copies no page tables. A farm takes long, and
     * has memory of its own. */
    int waits = text_starts(request + 4, "bind");
    long pid = waits ? SYS(__NR_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0, 0) : sys_fork();
    if (pid < 0) answer(get_u32((u8 *)request), pid);
    if (pid != 0) continue;
    handle(length);
    sys_exit(0);
  }
  return 0;
}
