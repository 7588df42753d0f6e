/* One connection: reads its request and serves it, with the streams of a command as frames or by descriptors. */
#include "agent.h"

#define REQUEST_TIMEOUT_MS 10000
#define OUT_SIZE (2 * (MAX_FRAME + FRAME_HEADER))
#define OUT_RESERVE 64 /* kept free for frames that are no stream's data */
#define WINDOW_STEP (32 * 1024)

static int connection;
static int signals;

static u8 incoming[FRAME_HEADER + MAX_FRAME];
static usize incoming_length;
static u8 outgoing[OUT_SIZE];
static usize outgoing_length;

/* Standard input on its way to the command: a ring. The client's window is the ring's size, so it never overflows. */
static u8 input[STREAM_WINDOW];
static usize input_start, input_length, input_taken;
static int input_fd = -1, input_ended, input_is_terminal;

/* 1: standard output, or the terminal; 2: standard error. */
struct output {
  int fd;
  u8 frame;
  usize window;
};
static struct output outputs[2] = {{-1, FRAME_STDOUT, STREAM_WINDOW}, {-1, FRAME_STDERR, STREAM_WINDOW}};

/* Milliseconds that a client gets to close its end after it was told how the command ended. */
#define CLOSE_WAIT_MS 2000

static int child = -1, child_status, child_ended;
static int master = -1;
static int client_left, detached;
static long kill_at; /* 0: never */
static u32 grace_ms;

/* While no command runs, a stopping berth need not wait for this process: then SIGTERM ends it. */
static void end_with_berth(int on) {
  unsigned long set = signal_bit(SIGTERM);
  sys_sigmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set);
}

/* The client may still be writing, for example the end of its input. If the connection were closed before it has read
 * the exit, that write would fail, and Node drops what it has not read when a write fails. So the client closes first. */
__attribute__((noreturn)) static void let_client_close(void) {
  char rest[4096];
  end_with_berth(1);
  long end = now_ms() + CLOSE_WAIT_MS;
  for (;;) {
    long left = end - now_ms();
    if (left <= 0) break;
    struct time_spec timeout = {left / 1000, left % 1000 * 1000000};
    struct pollfd wait = {connection, POLLIN, 0};
    if (sys_poll(&wait, 1, &timeout) <= 0) break;
    long got = sys_read(connection, rest, sizeof rest);
    if (got <= 0 && got != -EINTR) break;
  }
  sys_exit(0);
}

__attribute__((noreturn)) static void fail(const char *subject, long error) {
  char line[256];
  struct text text = text_in(line, sizeof line);
  text_add(&text, subject);
  if (error < 0) {
    text_add(&text, " (error ");
    text_add_number(&text, (unsigned long)-error);
    text_add(&text, ")");
  }
  send_frame(connection, FRAME_ERROR, line, (u32)text.length);
  let_client_close();
}

static void client_is_gone(void) {
  if (client_left) return;
  client_left = 1;
  outgoing_length = 0;
  sys_close(connection);
  connection = -1;
  if (input_fd >= 0 && !input_is_terminal) sys_close(input_fd);
  input_fd = -1;
  if (detached || child_ended) return;
  sys_kill(-child, SIGHUP);
  kill_at = now_ms() + grace_ms;
}

static void add_frame(u8 type, const void *payload, usize length) {
  if (client_left) return;
  put_header(outgoing + outgoing_length, type, (u32)length);
  memcpy(outgoing + outgoing_length + FRAME_HEADER, payload, length);
  outgoing_length += FRAME_HEADER + length;
}

static void flush_outgoing(void) {
  usize sent = 0;
  while (!client_left && sent < outgoing_length) {
    struct io_vector vector = {outgoing + sent, outgoing_length - sent};
    struct message_header message = {NULL, 0, &vector, 1, NULL, 0, 0};
    long result = sys_sendmsg(connection, &message, MSG_NOSIGNAL);
    if (result == -EINTR) continue;
    if (result == -EAGAIN) break;
    if (result < 0) {
      client_is_gone();
      return;
    }
    sent += (usize)result;
  }
  if (sent > 0) {
    outgoing_length -= sent;
    memmove(outgoing, outgoing + sent, outgoing_length);
  }
}

static void close_output(struct output *output) {
  if (output->fd < 0) return;
  sys_close(output->fd);
  if (output->fd == master) {
    master = -1;
    input_fd = -1;
  }
  output->fd = -1;
}

static usize output_room(const struct output *output) {
  if (client_left) return MAX_FRAME;
  usize used = outgoing_length + FRAME_HEADER + OUT_RESERVE;
  usize room = used < OUT_SIZE ? OUT_SIZE - used : 0;
  if (room > MAX_FRAME) room = MAX_FRAME;
  return room < output->window ? room : output->window;
}

/* Takes what the command wrote. What is left when it has ended is all there at once; a process that it left behind and
 * that still holds the pipe is not waited for. */
static void pump_output(struct output *output) {
  while (output->fd >= 0) {
    usize room = output_room(output);
    if (room == 0) return;
    u8 *frame = outgoing + outgoing_length;
    long got = sys_read(output->fd, frame + FRAME_HEADER, room);
    if (got == -EINTR) continue;
    if (got == -EAGAIN) {
      if (child_ended) close_output(output);
      return;
    }
    if (got <= 0) {
      close_output(output);
      return;
    }
    if (client_left) continue;
    put_header(frame, output->frame, (u32)got);
    outgoing_length += FRAME_HEADER + (usize)got;
    output->window -= (usize)got;
    flush_outgoing();
  }
}

static void grant_input(usize length) {
  input_taken += length;
  /* Told in steps, so that small writes do not cost a frame each; the reserve has room for one at any time. */
  if (input_taken < WINDOW_STEP || outgoing_length + OUT_RESERVE > OUT_SIZE) return;
  u8 payload[5] = {0};
  put_u32(payload + 1, (u32)input_taken);
  input_taken = 0;
  add_frame(FRAME_WINDOW, payload, sizeof payload);
}

static void end_input(void) {
  if (input_fd < 0) return;
  if (input_is_terminal) {
    char end_of_file = 4; /* VEOF, as Ctrl-D types it */
    sys_write(input_fd, &end_of_file, 1);
  } else sys_close(input_fd);
  input_fd = -1;
}

static void pump_input(void) {
  while (input_length > 0) {
    usize part = sizeof input - input_start < input_length ? sizeof input - input_start : input_length;
    long written = input_fd >= 0 ? sys_write(input_fd, input + input_start, part) : (long)part;
    if (written == -EINTR) continue;
    if (written == -EAGAIN) return;
    if (written < 0) {
      /* The command closed its standard input: the rest is dropped, and the client told that it was taken. */
      if (!input_is_terminal) sys_close(input_fd);
      input_fd = -1;
      continue;
    }
    input_start = (input_start + (usize)written) % sizeof input;
    input_length -= (usize)written;
    grant_input((usize)written);
  }
  if (input_ended) end_input();
}

static int take_input(const u8 *data, usize length) {
  if (length > sizeof input - input_length) return -EINVAL;
  for (usize done = 0; done < length;) {
    usize at = (input_start + input_length) % sizeof input;
    usize part = sizeof input - at < length - done ? sizeof input - at : length - done;
    memcpy(input + at, data + done, part);
    input_length += part;
    done += part;
  }
  return 0;
}

/* Returns 0, or -EINVAL for a frame that is not of the protocol. */
static int handle_frame(u8 type, const u8 *payload, usize length) {
  switch (type) {
    case FRAME_STDIN:
      return input_ended ? -EINVAL : take_input(payload, length);
    case FRAME_STDIN_END:
      input_ended = 1;
      return 0;
    case FRAME_SIGNAL:
      if (length != 1 || payload[0] < 1 || payload[0] > SIGNAL_COUNT) return -EINVAL;
      if (!child_ended) sys_kill(-child, payload[0]);
      return 0;
    case FRAME_RESIZE:
      if (length != 4) return -EINVAL;
      if (master >= 0) resize_terminal(master, get_u16(payload), get_u16(payload + 2));
      return 0;
    case FRAME_WINDOW: {
      if (length != 5 || payload[0] < 1 || payload[0] > 2) return -EINVAL;
      struct output *output = &outputs[payload[0] - 1];
      u32 more = get_u32(payload + 1);
      if (more > STREAM_WINDOW - output->window) return -EINVAL;
      output->window += more;
      return 0;
    }
    default:
      return -EINVAL;
  }
}

static void read_client(void) {
  struct io_vector vector = {incoming + incoming_length, sizeof incoming - incoming_length};
  struct message_header message = {NULL, 0, &vector, 1, NULL, 0, 0};
  long got = sys_recvmsg(connection, &message, 0);
  if (got == -EAGAIN || got == -EINTR) return;
  if (got <= 0) {
    client_is_gone();
    return;
  }
  incoming_length += (usize)got;
  usize at = 0;
  while (incoming_length - at >= FRAME_HEADER) {
    u32 length = get_u32(incoming + at + 1);
    if (length > MAX_FRAME) {
      client_is_gone();
      return;
    }
    if (incoming_length - at < FRAME_HEADER + length) break;
    if (handle_frame(incoming[at], incoming + at + FRAME_HEADER, length) < 0) {
      client_is_gone();
      return;
    }
    at += FRAME_HEADER + length;
  }
  incoming_length -= at;
  memmove(incoming, incoming + at, incoming_length);
}

static void read_signals(void) {
  struct signalfd_siginfo info;
  while (sys_read(signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) {
      if (sys_wait(child, &child_status, WNOHANG) == child) child_ended = 1;
    } else if (info.ssi_signo == SIGTERM && master >= 0 && !child_ended) {
      /* The berth is stopping: an interactive shell ignores SIGTERM and goes by SIGHUP. */
      sys_kill(-child, SIGHUP);
    }
  }
}

static void wait_for_events(void) {
  struct pollfd polls[5];
  usize count = 0;
  polls[count++] = (struct pollfd){signals, POLLIN, 0};
  usize connection_at = count;
  if (!client_left)
    polls[count++] = (struct pollfd){connection, (short)(POLLIN | (outgoing_length > 0 ? POLLOUT : 0)), 0};
  for (usize i = 0; i < COUNT_OF(outputs); i += 1)
    if (outputs[i].fd >= 0 && output_room(&outputs[i]) > 0)
      polls[count++] = (struct pollfd){outputs[i].fd, POLLIN, 0};
  if (input_fd >= 0 && input_length > 0) polls[count++] = (struct pollfd){input_fd, POLLOUT, 0};

  struct time_spec timeout, *limit = NULL;
  if (kill_at > 0) {
    long left = kill_at - now_ms();
    if (left < 0) left = 0;
    timeout = (struct time_spec){left / 1000, left % 1000 * 1000000};
    limit = &timeout;
  }
  if (sys_poll(polls, count, limit) < 0) return;
  if (polls[0].revents) read_signals();
  if (!client_left && polls[connection_at].revents & (POLLIN | POLLHUP | POLLERR)) read_client();
  if (kill_at > 0 && now_ms() >= kill_at && !child_ended) {
    sys_kill(-child, SIGKILL);
    kill_at = 0;
  }
}

__attribute__((noreturn)) static void attend_command(void) {
  set_nonblocking(connection, 1);
  for (;;) {
    flush_outgoing();
    pump_input();
    for (usize i = 0; i < COUNT_OF(outputs); i += 1) pump_output(&outputs[i]);
    flush_outgoing();
    if (child_ended && (client_left || (outputs[0].fd < 0 && outputs[1].fd < 0))) break;
    wait_for_events();
  }
  if (client_left) sys_exit(0);
  u8 payload[2];
  read_wait_status(child_status, &payload[0], &payload[1]);
  set_nonblocking(connection, 0);
  flush_outgoing();
  send_frame(connection, FRAME_EXIT, payload, sizeof payload);
  let_client_close();
}

static int open_null(int flags) {
  int fd = (int)sys_open("/dev/null", flags | O_CLOEXEC, 0);
  if (fd < 0) fail("/dev/null cannot be opened", fd);
  return fd;
}

/* Makes the command's standard streams; what the agent keeps of them goes to input_fd and outputs. */
static void make_streams(const struct run_header *header, int io[3]) {
  int ends[2];
  long failed = 0;
  if (header->flags & RUN_NO_STDIN) io[0] = open_null(O_RDONLY);
  else if ((failed = sys_pipe(ends, O_CLOEXEC)) == 0) {
    io[0] = ends[0];
    input_fd = ends[1];
    set_nonblocking(input_fd, 1);
  }
  for (usize i = 0; i < COUNT_OF(outputs) && failed == 0; i += 1)
    if ((failed = sys_pipe(ends, O_CLOEXEC)) == 0) {
      io[i + 1] = ends[1];
      outputs[i].fd = ends[0];
      set_nonblocking(ends[0], 1);
    }
  if (failed < 0) fail("no pipe for the command's streams", failed);
}

__attribute__((noreturn)) static void serve_run(char *payload, usize length, const int *passed, usize passed_count) {
  static struct run_request request;
  if (parse_run_request(&request, payload, length) < 0) fail("the request is not well-formed", 0);
  const struct run_header *header = &request.header;
  int io[3] = {-1, -1, -1};
  int slave = -1;
  long failed;
  grace_ms = header->grace_ms;
  detached = (header->flags & RUN_DETACH) != 0;
  int by_descriptors = (header->flags & RUN_DESCRIPTORS) != 0;

  if (header->flags & RUN_TTY) {
    if ((failed = open_terminal(&master, &slave, header->columns, header->rows)) < 0)
      fail("no terminal can be opened in the container", failed);
  } else if (by_descriptors) {
    if (passed_count != 3) fail("three descriptors are needed", 0);
    for (usize i = 0; i < 3; i += 1) io[i] = passed[i];
  } else make_streams(header, io);

  end_with_berth(0);
  child = spawn_command(&request, io, slave);
  if (child < 0) fail("no process can be started in the container", child);
  for (usize i = 0; i < 3; i += 1)
    if (io[i] >= 0) sys_close(io[i]);
  if (slave >= 0) sys_close(slave);

  u8 started[FRAME_HEADER + 4];
  put_header(started, FRAME_STARTED, 4);
  put_u32(started + FRAME_HEADER, (u32)child);
  int give_master = master >= 0 && by_descriptors;
  send_with_descriptors(connection, started, sizeof started, &master, give_master);
  if (give_master) {
    /* The client has it now; when it goes, the kernel hangs up the terminal. */
    sys_close(master);
    master = -1;
  } else if (master >= 0) {
    set_nonblocking(master, 1);
    input_is_terminal = 1;
    input_fd = outputs[0].fd = master;
  }
  attend_command();
}

/* PID 1 takes the connection over, with what is to be done: the grace time of a stop, or one byte to begin. */
__attribute__((noreturn)) static void serve_by_first(const char *payload, usize length, int control) {
  long failed = send_with_descriptors(control, payload, length, &connection, 1);
  if (failed < 0) fail("the agent's first process cannot be told", failed);
  sys_exit(0);
}

static void await_readable(long deadline) {
  long left = deadline - now_ms();
  if (left <= 0) sys_exit(1);
  struct time_spec timeout = {left / 1000, left % 1000 * 1000000};
  struct pollfd poll = {connection, POLLIN, 0};
  if (sys_poll(&poll, 1, &timeout) == 0) sys_exit(1);
}

void serve_connection(int connection_fd, int signal_fd, int control, int command_state) {
  static char payload[MAX_REQUEST];
  u8 header[FRAME_HEADER];
  int passed[MAX_PASSED];
  usize passed_count = 0;
  long deadline = now_ms() + REQUEST_TIMEOUT_MS;
  connection = connection_fd;
  signals = signal_fd;
  end_with_berth(1);

  /* The descriptors come with the first bytes; the rest is the remainder of the header and the payload. */
  usize have = 0;
  while (have < sizeof header) {
    await_readable(deadline);
    usize count;
    int received[MAX_PASSED];
    long got = receive_with_descriptors(connection, header + have, sizeof header - have, received, &count);
    if (got <= 0) sys_exit(0);
    if (count > 0) {
      if (passed_count > 0) sys_exit(1);
      memcpy(passed, received, sizeof passed);
      passed_count = count;
    }
    have += (usize)got;
  }
  u32 length = get_u32(header + 1);
  if (length > sizeof payload) fail("the request is larger than 1 MiB", 0);
  for (have = 0; have < length;) {
    await_readable(deadline);
    long got = sys_read(connection, payload + have, length - have);
    if (got == -EINTR) continue;
    if (got <= 0) sys_exit(0);
    have += (usize)got;
  }

  switch (header[0]) {
    case FRAME_RUN:
      serve_run(payload, length, passed, passed_count);
    case FRAME_PING: {
      u8 pong[2] = {PROTOCOL_VERSION, (u8)command_state};
      send_frame(connection, FRAME_PONG, pong, sizeof pong);
      sys_exit(0);
    }
    case FRAME_REFRESH:
      if (length == 4) link_etc_ahead(get_u32((u8 *)payload));
      else link_etc();
      send_frame(connection, FRAME_OK, NULL, 0);
      sys_exit(0);
    case FRAME_HOST:
      serve_host(connection);
    case FRAME_CONNECT:
      if (length != 2) fail("the request is not well-formed", 0);
      serve_port(connection, get_u16((u8 *)payload));
    case FRAME_BEGIN:
      serve_by_first("B", 1, control);
    case FRAME_STOP:
      if (length != 4) fail("the request is not well-formed", 0);
      serve_by_first(payload, length, control);
    default:
      fail("the request is of an unknown kind", 0);
  }
}
