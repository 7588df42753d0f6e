/* The way out of a berth, to the daemon that opened it: `berth add` and its like are asked for inside, and done outside.
 * The daemon's connection carries one question at a time, so a berth can't flood it; others wait in the socket's queue.
 * What is asked is checked by the daemon: nothing in the berth is trusted, this process included. */
#include "agent.h"

#define QUESTION_TIMEOUT_MS 10000
#define ANSWER_TIMEOUT_MS 10000

static int daemon_connection;
static unsigned long socket_inode;
static u8 buffer[FRAME_HEADER + MAX_FRAME];

/* The socket's name may be another's by now: of a daemon that came later. */
__attribute__((noreturn)) static void leave(void) {
  struct stat status;
  if (sys_fstatat(AT_FDCWD, HOST_SOCKET, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_ino == socket_inode)
    sys_unlinkat(AT_FDCWD, HOST_SOCKET, 0);
  sys_exit(0);
}

static int listen_inside(void) {
  struct sockaddr_un address = {AF_UNIX, HOST_SOCKET ".new"};
  struct stat status;
  sys_unlinkat(AT_FDCWD, address.sun_path, 0);
  int fd = (int)sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  SYS1(__NR_umask, 0177);
  if (fd < 0 || SYS3(__NR_bind, fd, &address, sizeof address) < 0 || SYS2(__NR_listen, fd, 16) < 0 ||
      sys_fstatat(AT_FDCWD, address.sun_path, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
      sys_rename(address.sun_path, HOST_SOCKET) < 0)
    return -1;
  SYS1(__NR_umask, 022);
  socket_inode = status.st_ino;
  return fd;
}

/* Reads so many bytes, waiting no longer than until the deadline (0: for ever). Returns 0, or -1. */
static int read_whole(int fd, u8 *to, usize size, long deadline) {
  for (usize have = 0; have < size;) {
    if (deadline > 0) {
      long left = deadline - now_ms();
      struct time_spec timeout = {left / 1000, left % 1000 * 1000000};
      struct pollfd wait = {fd, POLLIN, 0};
      if (left <= 0 || sys_poll(&wait, 1, &timeout) == 0) return -1;
    }
    long got = sys_read(fd, to + have, size - have);
    if (got == -EINTR) continue;
    if (got <= 0) return -1;
    have += (usize)got;
  }
  return 0;
}

/* Returns the frame's length with its header, or -1. */
static long read_frame(int fd, long deadline) {
  if (read_whole(fd, buffer, FRAME_HEADER, deadline) < 0) return -1;
  u32 length = get_u32(buffer + 1);
  if (length > MAX_FRAME || read_whole(fd, buffer + FRAME_HEADER, length, deadline) < 0) return -1;
  return FRAME_HEADER + (long)length;
}

/* A client that does not read is let go: the daemon must not wait for it. */
static int write_to_client(int client, usize size) {
  long deadline = now_ms() + ANSWER_TIMEOUT_MS;
  for (usize done = 0; done < size;) {
    struct io_vector vector = {buffer + done, size - done};
    struct message_header message = {NULL, 0, &vector, 1, NULL, 0, 0};
    long sent = sys_sendmsg(client, &message, MSG_NOSIGNAL);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) {
      long left = deadline - now_ms();
      struct time_spec timeout = {left / 1000, left % 1000 * 1000000};
      struct pollfd wait = {client, POLLOUT, 0};
      if (left <= 0 || sys_poll(&wait, 1, &timeout) == 0) return -1;
      continue;
    }
    if (sent < 0) return -1;
    done += (usize)sent;
  }
  return 0;
}

static void serve_client(int client) {
  long length = read_frame(client, now_ms() + QUESTION_TIMEOUT_MS);
  if (length < 0 || buffer[0] != FRAME_ASK) return;
  if (send_frame(daemon_connection, FRAME_ASK, buffer + FRAME_HEADER, (u32)length - FRAME_HEADER) < 0) leave();
  set_nonblocking(client, 1);
  for (int listening = 1;;) {
    struct pollfd polls[2] = {{daemon_connection, POLLIN, 0}, {listening ? client : -1, POLLIN, 0}};
    if (sys_poll(polls, 2, NULL) < 0) continue;
    if (polls[1].revents) {
      u8 ignored;
      long got = sys_read(client, &ignored, 1);
      if (got <= 0 && got != -EAGAIN && got != -EINTR) {
        /* It went away: the daemon ends the work and then says so. */
        listening = 0;
        if (send_frame(daemon_connection, FRAME_CANCEL, NULL, 0) < 0) leave();
      }
    }
    if (!polls[0].revents) continue;
    length = read_frame(daemon_connection, 0);
    if (length < 0) leave();
    u8 type = buffer[0];
    if (listening && write_to_client(client, (usize)length) < 0) {
      listening = 0;
      if (type != FRAME_EXIT && send_frame(daemon_connection, FRAME_CANCEL, NULL, 0) < 0) leave();
    }
    if (type == FRAME_EXIT) return;
  }
}

void serve_host(int connection) {
  daemon_connection = connection;
  int socket = listen_inside();
  if (socket < 0) {
    const char *why = "the socket for commands in the berth cannot be made";
    send_frame(connection, FRAME_ERROR, why, (u32)strlen(why));
    sys_exit(1);
  }
  send_frame(connection, FRAME_OK, NULL, 0);
  for (;;) {
    struct pollfd polls[2] = {{connection, POLLIN, 0}, {socket, POLLIN, 0}};
    if (sys_poll(polls, 2, NULL) < 0) continue;
    /* While nothing is asked the daemon says nothing: it went away. */
    if (polls[0].revents) leave();
    if (!polls[1].revents) continue;
    int client = (int)SYS4(__NR_accept4, socket, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) continue;
    serve_client(client);
    sys_close(client);
  }
}
