/* The user's terminal: its size, and raw mode with the way back. */
#include "hot.h"

static int raw_fd = -1;
static struct termios before;

int is_terminal(int fd) {
  struct termios ignored;
  return sys_ioctl(fd, TCGETS, &ignored) == 0;
}

long terminal_size(int fd, u16 *columns, u16 *rows) {
  struct winsize size;
  long failed = sys_ioctl(fd, TIOCGWINSZ, &size);
  if (failed < 0) return failed;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return 0;
}

/* As cfmakeraw(3) does. */
long make_terminal_raw(int fd) {
  long failed = sys_ioctl(fd, TCGETS, &before);
  if (failed < 0) return failed;
  struct termios raw = before;
  raw.c_iflag &= ~(u32)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_oflag &= ~(u32)OPOST;
  raw.c_lflag &= ~(u32)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
  raw.c_cflag &= ~(u32)(CSIZE | PARENB);
  raw.c_cflag |= CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  failed = sys_ioctl(fd, TCSETSW, &raw);
  if (failed == 0) raw_fd = fd;
  return failed;
}

void restore_terminal(void) {
  if (raw_fd >= 0) sys_ioctl(raw_fd, TCSETSW, &before);
  raw_fd = -1;
}
