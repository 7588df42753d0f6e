/* A command in a berth, joined to this process's standard streams.
 *
 * Without a terminal the command gets the streams themselves where they are pipes: no byte passes through this process.
 * Other things it must not have: with the user's terminal it could type into the user's shell, a file that is open for
 * reading can be opened anew for writing through /proc, and a socket cannot be opened as /dev/stderr. For these it gets
 * pipes, and the bytes are copied.
 *
 * With a terminal the command has one of the berth's own. Its other end comes here, and the user's is in raw mode. */
#include "hot.h"

#define FORWARDED_COUNT 6
#define MAX_PIPE (1024 * 1024) /* the largest that an ordinary process can make a pipe */
static const int forwarded[FORWARDED_COUNT] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* Bytes from one descriptor to another. */
struct way {
  int from, to; /* -1: closed */
  u8 data[64 * 1024];
  usize start, length;
};

static struct way in, outs[2];
static int agent = -1, signals = -1, master = -1;
static int ended, kind, value;
static u8 frame[FRAME_HEADER + MAX_FRAME];
static usize frame_length;

static void close_way(struct way *way, int with_target) {
  /* The user's own streams are left open; what is made here is numbered above them. */
  if (way->from > 2) sys_close(way->from);
  if (with_target && way->to > 2) sys_close(way->to);
  way->from = -1;
  way->to = with_target ? -1 : way->to;
}

/* Takes what can be read now, when nothing waits to be written. Returns 0 when the source has ended. */
static int fill(struct way *way) {
  long got = sys_read(way->from, way->data, sizeof way->data);
  if (got == -EINTR || got == -EAGAIN) return 1;
  if (got <= 0) return 0;
  way->start = 0;
  way->length = (usize)got;
  return 1;
}

/* Writes what the target takes now. Returns 0 when the target is gone. */
static int drain(struct way *way) {
  while (way->length > 0) {
    long sent = sys_write(way->to, way->data + way->start, way->length);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) return 1;
    if (sent < 0) return 0;
    way->start += (usize)sent;
    way->length -= (usize)sent;
  }
  return 1;
}

/* Output of the command, to its end or to where there is none for now. The user's stream may be slow: it is waited
 * for, as every program waits for its output. Returns 0 when there was nothing. */
static int pump_output(struct way *way) {
  if (way->from < 0) return 0;
  long got = sys_read(way->from, way->data, sizeof way->data);
  if (got == -EINTR) return 1;
  if (got == -EAGAIN) return 0;
  if (got > 0 && write_all(way->to, way->data, (usize)got) == 0) return 1;
  /* Ended; or nobody reads any more: then the command's next write fails, as it would without Berth. */
  close_way(way, 0);
  if (way == &outs[0] && master >= 0) {
    master = -1;
    in.to = -1;
  }
  return 0;
}

static void pump_input(int readable) {
  if (in.length == 0 && readable && in.from >= 0 && !fill(&in)) {
    if (in.to == master) in.from = -1; /* The user's terminal is gone; the berth's stays until its command ends. */
    else close_way(&in, 1);
    return;
  }
  if (in.length > 0 && (in.to < 0 || !drain(&in))) {
    in.length = 0;
    if (in.to == master) in.to = -1;
    else close_way(&in, 1);
  }
}

static void resize(void) {
  struct winsize size = {0};
  if (master >= 0 && terminal_size(1, &size.ws_col, &size.ws_row) == 0 && size.ws_col > 0 && size.ws_row > 0)
    sys_ioctl(master, TIOCSWINSZ, &size);
}

static void read_signals(void) {
  struct signalfd_siginfo info;
  while (sys_read(signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGWINCH) {
      resize();
      continue;
    }
    u8 number = (u8)info.ssi_signo;
    send_frame(agent, FRAME_SIGNAL, &number, 1);
  }
}

/* Returns 0, or -1 when the agent is gone or says what it must not. */
static int read_agent(void) {
  long got = sys_read(agent, frame + frame_length, sizeof frame - frame_length);
  if (got == -EINTR) return 0;
  if (got <= 0) return -1;
  frame_length += (usize)got;
  while (frame_length >= FRAME_HEADER) {
    u32 length = get_u32(frame + 1);
    if (length > MAX_FRAME) return -1;
    if (frame_length < FRAME_HEADER + length) return 0;
    if (frame[0] == FRAME_EXIT && length == 2) {
      kind = frame[FRAME_HEADER];
      value = frame[FRAME_HEADER + 1];
      ended = 1;
      return 0;
    }
    if (frame[0] == FRAME_ERROR) return -1;
    frame_length -= FRAME_HEADER + length;
    memmove(frame, frame + FRAME_HEADER + length, frame_length);
  }
  return 0;
}

static void wait_for_events(void) {
  struct pollfd polls[5];
  usize count = 0;
  polls[count++] = (struct pollfd){signals, POLLIN, 0};
  polls[count++] = (struct pollfd){agent, POLLIN, 0};
  /* A file is always readable; poll says so. */
  usize input_at = count;
  if (in.length > 0 && in.to >= 0) polls[count++] = (struct pollfd){in.to, POLLOUT, 0};
  else if (in.from >= 0 && in.to >= 0) polls[count++] = (struct pollfd){in.from, POLLIN, 0};
  int has_input = count > input_at;
  for (usize i = 0; i < COUNT_OF(outs); i += 1)
    if (outs[i].from >= 0) polls[count++] = (struct pollfd){outs[i].from, POLLIN, 0};
  if (sys_poll(polls, count, NULL) < 0) return;
  if (polls[0].revents) read_signals();
  if (has_input && polls[input_at].revents) pump_input(in.length == 0);
  for (usize i = 0; i < COUNT_OF(outs); i += 1) pump_output(&outs[i]);
  if (polls[1].revents && read_agent() < 0) ended = -1;
}

/* Whether the command may have this stream itself: see the top of this file. */
static int can_be_given(int fd) {
  struct stat status;
  if (sys_fstat(fd, &status) < 0) return 0;
  u32 type = status.st_mode & S_IFMT;
  return type == S_IFIFO || (type == S_IFCHR && status.st_rdev == 0x103 /* /dev/null: 1, 3 */);
}

/* Fills `given` with what the command gets. Returns 0, or a negative error number. */
static long choose_streams(int given[3]) {
  for (int fd = 0; fd < 3; fd += 1) {
    int ends[2];
    given[fd] = fd;
    if (can_be_given(fd)) continue;
    long failed = sys_pipe(ends, O_CLOEXEC);
    if (failed < 0) return failed;
    if (fd == 0) {
      given[0] = ends[0];
      in.from = 0;
      in.to = ends[1];
      set_nonblocking(ends[1], 1);
    } else {
      given[fd] = ends[1];
      outs[fd - 1].from = ends[0];
      outs[fd - 1].to = fd;
      set_nonblocking(ends[0], 1);
    }
  }
  return 0;
}

/* Waits for the command's start. With a terminal its other end comes along. Returns 0, or -1 when it was not started. */
static int await_start(int with_terminal) {
  u8 started[FRAME_HEADER + 4];
  int passed[MAX_PASSED];
  usize have = 0, count = 0;
  while (have < sizeof started) {
    usize came;
    int received[MAX_PASSED];
    long got = receive_with_descriptors(agent, started + have, sizeof started - have, received, &came);
    if (got <= 0) return -1;
    if (came > 0) {
      count = came;
      memcpy(passed, received, sizeof passed);
    }
    have += (usize)got;
    if (started[0] != FRAME_STARTED || (have >= FRAME_HEADER && get_u32(started + 1) != 4)) return -1;
  }
  if (!with_terminal) return 0;
  if (count != 1) return -1;
  master = passed[0];
  set_nonblocking(master, 1);
  in.from = 0;
  in.to = outs[0].from = master;
  outs[0].to = 1;
  return 0;
}

int attach(const struct attachment *attachment) {
  struct run_header header;
  int given[3] = {-1, -1, -1};
  memcpy(&header, attachment->request, sizeof header);
  int with_terminal = (header.flags & RUN_TTY) != 0;
  header.flags |= RUN_DESCRIPTORS;
  memcpy(attachment->request, &header, sizeof header);
  in.from = in.to = outs[0].from = outs[0].to = outs[1].from = outs[1].to = -1;

  agent = connect_to(attachment->agent_socket);
  if (agent < 0) return -1;
  if (!with_terminal && choose_streams(given) < 0) return -1;

  unsigned long before = 0;
  unsigned long taken = signal_bit(SIGWINCH);
  for (usize i = 0; i < FORWARDED_COUNT; i += 1) taken |= signal_bit(forwarded[i]);
  unsigned long blocked = taken | signal_bit(SIGPIPE) | (with_terminal ? signal_bit(SIGTTOU) : 0);
  SYS4(__NR_rt_sigprocmask, SIG_BLOCK, &blocked, &before, sizeof before);
  signals = (int)sys_signalfd(&taken);

  u8 run_frame[FRAME_HEADER];
  put_header(run_frame, FRAME_RUN, attachment->request_length);
  if (signals < 0 ||
      send_with_descriptors(agent, run_frame, sizeof run_frame, given, with_terminal ? 0 : COUNT_OF(given)) < 0 ||
      send_with_descriptors(agent, attachment->request, attachment->request_length, NULL, 0) < 0 ||
      await_start(with_terminal) < 0) {
    sys_sigmask(SIG_SETMASK, &before);
    sys_close(agent);
    return -1;
  }
  /* The command has them now; its ends must not stay open here. */
  for (int fd = 0; fd < 3; fd += 1)
    if (given[fd] > 2) sys_close(given[fd]);
  if (with_terminal) {
    make_terminal_raw(0);
    resize();
  }

  while (!ended) wait_for_events();
  /* What the command wrote before it ended is all there, and is no more than a pipe holds; a process that it left
   * behind may go on writing for ever. */
  for (usize i = 0; i < COUNT_OF(outs); i += 1)
    for (usize part = 0; part < MAX_PIPE && pump_output(&outs[i]); part += sizeof outs[i].data) continue;
  restore_terminal();
  if (ended > 0) return kind == 0 ? value : 128 + value;
  write_all(2, attachment->lost_text, strlen(attachment->lost_text));
  return attachment->lost_code;
}
