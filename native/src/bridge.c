/* A published port: bytes between a connection of the host and a port on the container's loopback interface. */
#include "agent.h"

struct direction {
  int from, to;
  u8 data[64 * 1024];
  usize start, length;
  int ended, closed;
};

/* Moves what can be moved now. Returns -1 when the connection broke. */
static int pump(struct direction *way) {
  for (;;) {
    if (way->length == 0 && !way->ended) {
      long got = sys_read(way->from, way->data, sizeof way->data);
      if (got == -EINTR) continue;
      if (got == -EAGAIN) return 0;
      if (got < 0) return -1;
      if (got == 0) way->ended = 1;
      way->start = 0;
      way->length = (usize)got;
    }
    if (way->length == 0) break;
    long sent = sys_write(way->to, way->data + way->start, way->length);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) return 0;
    if (sent < 0) return -1;
    way->start += (usize)sent;
    way->length -= (usize)sent;
  }
  if (!way->closed) {
    SYS2(__NR_shutdown, way->to, SHUT_WR);
    way->closed = 1;
  }
  return 0;
}

static int connect_loopback(u16 port) {
  u16 network_order = (u16)(port << 8 | port >> 8);
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = network_order, .sin_addr = {0x0100007f}};
  int fd = (int)sys_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  long failed = sys_connect(fd, &v4, sizeof v4);
  if (failed == 0) return fd;
  sys_close(fd);
  return (int)failed;
}

void serve_port(int connection, u16 port) {
  static struct direction in, out;
  unsigned long unblocked = signal_bit(SIGTERM);
  sys_sigmask(SIG_UNBLOCK, &unblocked);
  int target = connect_loopback(port);
  if (target < 0) {
    const char *why = "nothing listens on this port in the container";
    send_frame(connection, FRAME_ERROR, why, (u32)strlen(why));
    sys_exit(0);
  }
  if (send_frame(connection, FRAME_OK, NULL, 0) < 0) sys_exit(0);
  set_nonblocking(connection, 1);
  set_nonblocking(target, 1);
  in.from = out.to = connection;
  in.to = out.from = target;
  for (;;) {
    if (pump(&in) < 0 || pump(&out) < 0) sys_exit(0);
    if (in.closed && out.closed) sys_exit(0);
    struct pollfd polls[2] = {{connection, 0, 0}, {target, 0, 0}};
    if (in.length == 0 && !in.ended) polls[0].events |= POLLIN;
    if (out.length > 0) polls[0].events |= POLLOUT;
    if (out.length == 0 && !out.ended) polls[1].events |= POLLIN;
    if (in.length > 0) polls[1].events |= POLLOUT;
    /* A side with nothing to wait for would report its hang-up for ever. */
    if (polls[0].events == 0) polls[0].fd = -1;
    if (polls[1].events == 0) polls[1].fd = -1;
    sys_poll(polls, 2, NULL);
  }
}
