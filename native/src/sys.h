/* Raw system calls, so that the programs need no C library: they are static, a few tens of kilobytes, and the same on
 * every distribution. Only calls of the kernel's generic ABI are used (the "at" forms), so x86_64 and aarch64 share
 * everything but the instruction itself. A call returns a negative error number when it fails. */
#ifndef BERTH_SYS_H
#define BERTH_SYS_H

#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/termios.h>
#include <asm/unistd.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/in.h>
#include <linux/prctl.h>
#include <linux/signalfd.h>
#include <linux/un.h>
#include <linux/wait.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long usize; /* both architectures are LP64 */

#define NULL ((void *)0)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory", "cc");
  return x0;
#else
#error "Berth's native programs know x86_64 and aarch64."
#endif
}

#define SYS(number, a, b, c, d, e, f) \
  sys6((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS0(n) SYS(n, 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) SYS(n, a, 0, 0, 0, 0, 0)
#define SYS2(n, a, b) SYS(n, a, b, 0, 0, 0, 0)
#define SYS3(n, a, b, c) SYS(n, a, b, c, 0, 0, 0)
#define SYS4(n, a, b, c, d) SYS(n, a, b, c, d, 0, 0)

/* What the kernel's public headers leave to the C library. */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_SEQPACKET 5
#define SOCK_CLOEXEC 02000000
#define SOCK_NONBLOCK 00004000
#define SOL_SOCKET 1
#define SO_PEERCRED 17
#define SCM_RIGHTS 1
#define SHUT_WR 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#define SIGNAL_COUNT 64
#define CLONE_VFORK 0x00004000

struct io_vector {
  void *base;
  usize length;
};

struct message_header {
  void *name;
  u32 name_length;
  struct io_vector *vectors;
  usize vector_count;
  void *control;
  usize control_length;
  u32 flags;
};

struct control_header {
  usize length;
  int level;
  int type;
};

struct time_spec {
  long seconds;
  long nanoseconds;
};

struct directory_entry {
  unsigned long inode;
  long offset;
  u16 length;
  u8 type;
  char name[];
};

struct peer_credentials {
  int pid;
  u32 uid;
  u32 gid;
};

static inline long sys_read(int fd, void *buffer, usize size) { return SYS3(__NR_read, fd, buffer, size); }
static inline long sys_write(int fd, const void *data, usize size) { return SYS3(__NR_write, fd, data, size); }
static inline long sys_close(int fd) { return SYS1(__NR_close, fd); }
static inline long sys_openat(int dir, const char *path, int flags, int mode) {
  return SYS4(__NR_openat, dir, path, flags, mode);
}
static inline long sys_open(const char *path, int flags, int mode) { return sys_openat(AT_FDCWD, path, flags, mode); }
static inline long sys_unlinkat(int dir, const char *path, int flags) { return SYS3(__NR_unlinkat, dir, path, flags); }
static inline long sys_rename(const char *from, const char *to) {
  return SYS(__NR_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0, 0);
}
static inline long sys_symlinkat(const char *target, int dir, const char *path) {
  return SYS3(__NR_symlinkat, target, dir, path);
}
static inline long sys_readlinkat(int dir, const char *path, char *buffer, usize size) {
  return SYS4(__NR_readlinkat, dir, path, buffer, size);
}
static inline long sys_fstatat(int dir, const char *path, struct stat *out, int flags) {
  return SYS4(__NR_newfstatat, dir, path, out, flags);
}
static inline long sys_fstat(int fd, struct stat *out) { return SYS2(__NR_fstat, fd, out); }
static inline long sys_getdents(int fd, void *buffer, usize size) { return SYS3(__NR_getdents64, fd, buffer, size); }
static inline long sys_fork(void) { return SYS(__NR_clone, SIGCHLD, 0, 0, 0, 0, 0); }
static inline long sys_execve(const char *path, char *const *argv, char *const *envp) {
  return SYS3(__NR_execve, path, argv, envp);
}
static inline long sys_wait(int pid, int *status, int options) { return SYS4(__NR_wait4, pid, status, options, 0); }
static inline long sys_kill(int pid, int signal) { return SYS2(__NR_kill, pid, signal); }
static inline long sys_pipe(int ends[2], int flags) { return SYS2(__NR_pipe2, ends, flags); }
static inline long sys_dup3(int from, int to, int flags) { return SYS3(__NR_dup3, from, to, flags); }
static inline long sys_fcntl(int fd, int command, long value) { return SYS3(__NR_fcntl, fd, command, value); }
static inline long sys_ioctl(int fd, unsigned long request, void *value) {
  return SYS3(__NR_ioctl, fd, request, value);
}
static inline long sys_socket(int family, int type, int protocol) { return SYS3(__NR_socket, family, type, protocol); }
static inline long sys_connect(int fd, const void *address, usize size) {
  return SYS3(__NR_connect, fd, address, size);
}
static inline long sys_sendmsg(int fd, const struct message_header *message, int flags) {
  return SYS3(__NR_sendmsg, fd, message, flags);
}
static inline long sys_recvmsg(int fd, struct message_header *message, int flags) {
  return SYS3(__NR_recvmsg, fd, message, flags);
}
static inline long sys_poll(struct pollfd *fds, usize count, const struct time_spec *timeout) {
  return SYS(__NR_ppoll, fds, count, timeout, 0, 0, 0);
}
static inline long sys_sigmask(int how, const unsigned long *set) {
  return SYS4(__NR_rt_sigprocmask, how, set, 0, sizeof *set);
}
static inline long sys_signalfd(const unsigned long *set) {
  return SYS4(__NR_signalfd4, -1, set, sizeof *set, SFD_CLOEXEC | SFD_NONBLOCK);
}
static inline long sys_clock(struct time_spec *out) { return SYS2(__NR_clock_gettime, 1 /* monotonic */, out); }
static inline __attribute__((noreturn)) void sys_exit(int code) {
  for (;;) SYS1(__NR_exit_group, code);
}

static inline unsigned long signal_bit(int signal) { return 1ul << (signal - 1); }

#endif
