/* New processes and pseudo terminals. */
#include "agent.h"

#define TIOCGPTPEER_NUMBER 0x5441 /* in no public header under this architecture-neutral name */

long open_terminal(int *master, int *slave, u16 columns, u16 rows) {
  int unlocked = 0;
  int opened = (int)sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
  if (opened < 0) return opened;
  long peer = sys_ioctl(opened, TIOCSPTLCK, &unlocked);
  /* By ioctl, not by path: independent of where this container's devpts is mounted. */
  if (peer >= 0) peer = SYS3(__NR_ioctl, opened, TIOCGPTPEER_NUMBER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) {
    sys_close(opened);
    return peer;
  }
  *master = opened;
  *slave = (int)peer;
  resize_terminal(opened, columns, rows);
  return 0;
}

void resize_terminal(int master, u16 columns, u16 rows) {
  struct winsize size = {rows, columns, 0, 0};
  if (columns > 0 && rows > 0) sys_ioctl(master, TIOCSWINSZ, &size);
}

int spawn_command(struct run_request *request, const int io[3], int terminal) {
  /* Vfork's suspension without its shared memory: the call returns once the child has its own session and has become
   * the command (or failed to), so a signal sent to its group right after cannot miss it. */
  int pid = (int)SYS(__NR_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0, 0);
  if (pid != 0) return pid;
  SYS0(__NR_setsid);
  if (terminal >= 0) {
    SYS3(__NR_ioctl, terminal, TIOCSCTTY, 0);
    if (request->header.uid != NO_ID) SYS3(__NR_fchown, terminal, request->header.uid, (u32)-1);
    for (int fd = 0; fd < 3; fd += 1) sys_dup3(terminal, fd, 0);
  } else {
    /* The three come from numbers above 2 (0, 1 and 2 are always taken), so none overwrites another. */
    for (int fd = 0; fd < 3; fd += 1) sys_dup3(io[fd], fd, 0);
  }
  unsigned long none = 0;
  sys_sigmask(SIG_SETMASK, &none);
  become_command(request);
}

void read_wait_status(int status, u8 *kind, u8 *value) {
  int signal = status & 0x7f;
  *kind = signal != 0;
  *value = (u8)(signal != 0 ? signal : (status >> 8) & 0xff);
}
