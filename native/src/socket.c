/* Unix sockets: connecting, and messages that carry file descriptors. See socket.h. */
#include "socket.h"

struct passed {
  struct control_header header;
  int descriptors[MAX_PASSED + 1]; /* one more pads it to the kernel's alignment of 8 */
};

long send_with_descriptors(int socket, const void *data, usize size, const int *descriptors, usize count) {
  const char *at = data;
  struct passed control = {{0}, {0}};
  while (size > 0) {
    struct io_vector vector = {(void *)at, size};
    struct message_header message = {NULL, 0, &vector, 1, NULL, 0, 0};
    if (count > 0 && count <= MAX_PASSED) {
      control.header.length = sizeof(struct control_header) + count * sizeof(int);
      control.header.level = SOL_SOCKET;
      control.header.type = SCM_RIGHTS;
      memcpy(control.descriptors, descriptors, count * sizeof(int));
      message.control = &control;
      message.control_length = control.header.length;
    }
    long sent = sys_sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) {
      struct pollfd wait = {socket, POLLOUT, 0};
      sys_poll(&wait, 1, NULL);
      continue;
    }
    if (sent < 0) return sent;
    at += sent;
    size -= (usize)sent;
    count = 0;
  }
  return 0;
}

long receive_with_descriptors(int socket, void *data, usize size, int descriptors[MAX_PASSED], usize *count) {
  struct passed control;
  struct io_vector vector = {data, size};
  struct message_header message = {NULL, 0, &vector, 1, &control, sizeof control, 0};
  long got;
  *count = 0;
  do got = sys_recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got == -EINTR);
  if (got < 0) return got;
  if (message.control_length >= sizeof(struct control_header) && control.header.level == SOL_SOCKET &&
      control.header.type == SCM_RIGHTS && control.header.length > sizeof(struct control_header)) {
    usize came = (control.header.length - sizeof(struct control_header)) / sizeof(int);
    for (usize i = 0; i < came && i < COUNT_OF(control.descriptors); i += 1) {
      if (*count < MAX_PASSED) descriptors[(*count)++] = control.descriptors[i];
      else sys_close(control.descriptors[i]);
    }
  }
  return got;
}

long send_frame(int socket, u8 type, const void *payload, u32 length) {
  u8 header[FRAME_HEADER];
  put_header(header, type, length);
  /* The header waits in the socket for its payload: two small writes, and no copy of the payload. */
  long failed = send_with_descriptors(socket, header, sizeof header, NULL, 0);
  return failed < 0 ? failed : send_with_descriptors(socket, payload, length, NULL, 0);
}

int connect_to(const char *path) {
  struct stat status;
  int place = (int)sys_open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
  if (place < 0) return place;
  long failed = sys_fstat(place, &status);
  if (failed == 0 && (status.st_mode & S_IFMT) != S_IFSOCK) failed = -ECONNREFUSED;
  int fd = failed == 0 ? (int)sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : (int)failed;
  if (fd >= 0) {
    /* By descriptor: what was checked is what is connected to, and the path's length does not matter. */
    struct sockaddr_un address = {AF_UNIX, {0}};
    struct text name = text_in(address.sun_path, sizeof address.sun_path);
    text_add(&name, "/proc/self/fd/");
    text_add_number(&name, (unsigned long)place);
    failed = sys_connect(fd, &address, sizeof address);
    if (failed < 0) {
      sys_close(fd);
      fd = (int)failed;
    }
  }
  sys_close(place);
  return fd;
}
